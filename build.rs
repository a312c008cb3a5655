//! Compiles `proto/` without protoc: messages and the client by prost, the server from the same descriptors.
//!
//! The server is generated apart, because it has a codec of its own (`wire::MessageCodec`).

use std::{env, error::Error, fs, path::Path};

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tonic_prost_build::manual;

const PROTO_DIR: &str = "proto";
const PROTO_FILES: [&str; 2] = ["rungate/v1/client_view.proto", "rungate/v1/pipeline.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors = protox::compile(PROTO_FILES, [PROTO_DIR])?;
    let out_dir = env::var("OUT_DIR")?;
    fs::write(Path::new(&out_dir).join("descriptors.bin"), descriptors.encode_to_vec())?;
    generate_server(&descriptors);
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}

fn generate_server(descriptors: &FileDescriptorSet) {
    let services = descriptors.file.iter().flat_map(|file| file.service.iter().map(move |it| (file, it)));
    let services = services.filter(|(file, _)| file.package().starts_with("rungate."));
    let services = services.map(|(file, service)| {
        let mut builder = manual::Service::builder().name(service.name()).package(file.package());
        for method in &service.method {
            builder = builder.method(server_method(method));
        }
        builder.build()
    });
    let services: Vec<_> = services.collect();
    manual::Builder::new().build_client(false).compile(&services);
}

fn server_method(method: &MethodDescriptorProto) -> manual::Method {
    let builder = manual::Method::builder()
        .name(snake_case(method.name()))
        .route_name(method.name())
        .input_type(rust_type(method.input_type()))
        .output_type(rust_type(method.output_type()))
        .codec_path("crate::wire::MessageCodec");
    if method.server_streaming() { builder.server_streaming().build() } else { builder.build() }
}

fn rust_type(proto_type: &str) -> String {
    format!("crate::wire::v1::{}", proto_type.rsplit('.').next().unwrap_or(proto_type))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}
