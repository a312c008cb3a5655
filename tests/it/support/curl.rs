//! The program `curl` as a client: JSON over Connect.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::process::Command;

use super::{
    client::{Failure, SERVICE},
    tools::{Tool, output},
};

/// Calls a unary method.
pub(crate) async fn call(address: SocketAddr, method: &str, request: &Value) -> Result<Value, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("request.json");
    std::fs::write(&body, request.to_string()).unwrap();
    let mut command = Command::new(Tool::Program("curl").path());
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
    command.args(["--header", "content-type: application/json", "--write-out", "\n%{http_code}"]);
    command.arg("--data-binary").arg(format!("@{}", body.display()));
    command.arg(format!("http://{address}/{SERVICE}/{method}"));
    let told = output(&mut command).await;
    let (body, status) = told.rsplit_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {told}"));
    if status == "200" { Ok(body) } else { Err(Failure::of_connect(&body)) }
}
