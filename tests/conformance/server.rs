//! The server under test: the gateway's protocol stack over the service of the suite.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use prost::Message;
use prost_reflect::DescriptorPool;
use rungate::{
    api::{
        ListenSettings, Listener,
        rpc::{RpcLimits, RpcStack, rpc_stack},
        serve,
    },
    runtime::shutdown::Shutdown,
};
use tonic::service::Routes;

use crate::messages::{ServerCompatRequest, ServerCompatResponse};
use crate::runner;
use crate::service::ConformanceService;

/// Takes one configuration from standard input, tells the address on standard output, and serves until it is
/// killed. The end of standard input is no reason to stop.
pub(crate) fn run() {
    let configuration = read_message().expect("the runner tells the configuration");
    let limits = match configuration.message_receive_limit as usize {
        0 => RpcLimits::default(),
        message_bytes => RpcLimits { message_bytes },
    };
    let stack = stack(limits);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a port is free");
        let port = listener.address().port();
        tell(&ServerCompatResponse { host: Ipv4Addr::LOCALHOST.to_string(), port: port.into() })
            .expect("the runner listens");
        // A server that nobody kills must not stay for ever.
        let app = axum::Router::new().fallback_service(stack);
        let serving = serve(listener, app, ListenSettings::default(), Shutdown::default());
        let _ = tokio::time::timeout(runner::TIME_LIMIT, serving).await;
    });
}

fn stack(limits: RpcLimits) -> RpcStack {
    let protos = runner::protos().expect("the suite's module is in Go's cache");
    let files = ["connectrpc/conformance/v1/service.proto"];
    let compiled = protox::compile(files, [protos]).expect("the suite's protos compile");
    let descriptors = DescriptorPool::from_file_descriptor_set(compiled).expect("compiled protos are valid");
    let routes = Routes::new(ConformanceService { message_bytes: limits.message_bytes });
    rpc_stack(routes.into_axum_router(), descriptors, limits, None)
}

/// Messages are preceded by their length in four bytes, big-endian.
fn read_message() -> io::Result<ServerCompatRequest> {
    let mut length = [0; 4];
    io::stdin().read_exact(&mut length)?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    io::stdin().read_exact(&mut message)?;
    Ok(ServerCompatRequest::decode(message.as_slice())?)
}

fn tell(address: &ServerCompatResponse) -> io::Result<()> {
    let message = address.encode_to_vec();
    let mut stdout = io::stdout().lock();
    stdout.write_all(&u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes())?;
    stdout.write_all(&message)?;
    stdout.flush()
}
