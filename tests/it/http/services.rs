//! The standard services: health and reflection.

use futures::stream;
use libtest_mimic::Trial;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::request;
use crate::support::{client::SERVICE, gateway::shared, trial};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::health_of_the_gateway_and_of_the_service", health),
        trial("http::health_over_connect", health_over_connect),
        trial("http::reflection_lists_and_describes_the_services", reflection),
    ]
}

async fn channel() -> Channel {
    let endpoint = Channel::from_shared(shared().await.url("")).unwrap();
    endpoint.connect().await.unwrap()
}

async fn health() {
    let mut client = HealthClient::new(channel().await);
    for service in ["", SERVICE] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(
            client.check(request).await.unwrap().get_ref().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let request = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_eq!(client.check(request).await.unwrap_err().code(), Code::NotFound);
}

async fn health_over_connect() {
    let headers = [("content-type", "application/json")];
    let response =
        request("POST", "/grpc.health.v1.Health/Check", &headers, b"{}").await.whole().await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["status"], "SERVING");
}

async fn reflect(request: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel().await);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut responses = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let response: ServerReflectionResponse = responses.message().await.unwrap().unwrap();
    response.message_response.unwrap()
}

async fn reflection() {
    let MessageResponse::ListServicesResponse(listed) =
        reflect(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services")
    };
    let names: Vec<_> = listed.service.iter().map(|it| it.name.as_str()).collect();
    for name in [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let described = reflect(MessageRequest::FileContainingSymbol(SERVICE.to_owned())).await;
    assert!(
        matches!(described, MessageResponse::FileDescriptorResponse(it) if !it.file_descriptor_proto.is_empty())
    );
}
