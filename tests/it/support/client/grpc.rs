//! gRPC, by tonic and the generated client.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use http::HeaderMap;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use rungate::wire::v1::pipeline_service_client::PipelineServiceClient;
use tonic::{Request, metadata::MetadataMap, transport::Channel};

use super::{Failure, Transport, proto_json::reflected};

/// See the module.
pub(super) struct Grpc {
    pub(super) address: SocketAddr,
}

/// Calls the generated method that has the name.
macro_rules! call {
    ($method:ident, $request:ident, $headers:ident, $client:ident, { $($name:literal => $call:ident,)* }) => {
        match $method.name() {
            $(
                $name => {
                    let mut request = generated(&$request);
                    *request.metadata_mut() = MetadataMap::from_headers($headers);
                    let (headers, response, _) = $client.$call(request).await?.into_parts();
                    Ok((reflected($method.output(), &response), headers.into_headers()))
                }
            )*
            name => panic!("{name} is not unary"),
        }
    };
}

#[async_trait]
impl Transport for Grpc {
    async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        headers: HeaderMap,
    ) -> Result<(DynamicMessage, HeaderMap), Failure> {
        let mut client = connect(self.address).await?;
        call!(method, request, headers, client, {
            "InitRun" => init_run,
            "StartRun" => start_run,
            "SubmitRunInput" => submit_run_input,
            "CancelRun" => cancel_run,
            "GetRun" => get_run,
            "ListRuns" => list_runs,
            "GetSession" => get_session,
            "ListWorkers" => list_workers,
            "SubmitToolResult" => submit_tool_result,
            "SubmitApproval" => submit_approval,
        })
    }

    fn watch(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        deadline: Option<Duration>,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>> {
        let (address, method) = (self.address, method.clone());
        async_stream::try_stream! {
            let mut client = connect(address).await?;
            let events = match method.name() {
                "WatchRun" => client.watch_run(within(generated(&request), deadline)).await,
                "WatchSession" => client.watch_session(within(generated(&request), deadline)).await,
                name => panic!("{name} does not stream"),
            };
            let mut events = events?.into_inner();
            while let Some(event) = events.message().await? {
                yield reflected(method.output(), &event);
            }
        }
        .boxed()
    }
}

async fn connect(address: SocketAddr) -> Result<PipelineServiceClient<Channel>, Failure> {
    PipelineServiceClient::connect(format!("http://{address}")).await.map_err(Failure::cut)
}

fn within<M>(mut request: Request<M>, deadline: Option<Duration>) -> Request<M> {
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}

fn generated<M: prost::Message + Default>(message: &DynamicMessage) -> Request<M> {
    Request::new(M::decode(message.encode_to_vec().as_slice()).unwrap())
}
