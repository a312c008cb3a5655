export async function screenshots(browser, url, { folder }) {}
