// A TCP proxy in front of the gateway whose connections can be cut.

import { createServer, connect } from "node:net";

export class Proxy {
  #server;
  #port = 0;
  #target;
  #sockets = new Set();

  static async start(url) {
    const proxy = new Proxy();
    proxy.#target = Number(new URL(url).port);
    await proxy.#listen();
    return proxy;
  }

  /** Where it listens. */
  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Ends all connections and refuses new ones. */
  async cut() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  /** Lets connections through again after a while. */
  async refuseFor(milliseconds) {
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    await this.#listen();
  }

  close() {
    return this.cut();
  }

  async #listen() {
    this.#server = createServer((client) => {
      const gateway = connect(this.#target, "127.0.0.1");
      for (const [socket, other] of [[client, gateway], [gateway, client]]) {
        this.#sockets.add(socket);
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = this.#server.address().port;
  }
}
