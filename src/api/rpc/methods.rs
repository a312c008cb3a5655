//! What the descriptors say about each method.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

/// Every method that is served, by its path. As large as the descriptors; never changes.
#[derive(Clone)]
pub(super) struct Methods(Arc<HashMap<String, Arc<Method>>>);

/// One method.
pub(super) struct Method {
    /// `package.Service/Method`, without a leading slash.
    pub(super) path: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    pub(super) client_streams: bool,
    pub(super) server_streams: bool,
    /// Declared `NO_SIDE_EFFECTS`: may be called with GET.
    pub(super) no_side_effects: bool,
}

impl Methods {
    pub(super) fn of(descriptors: &DescriptorPool) -> Self {
        let methods = descriptors.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(Arc::new(
            methods.map(Method::of).map(|method| (method.path.clone(), Arc::new(method))).collect(),
        ))
    }

    /// The method of a path, with or without its leading slash.
    pub(super) fn get(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path.strip_prefix('/').unwrap_or(path))
    }
}

impl Method {
    fn of(method: MethodDescriptor) -> Self {
        let options = method.method_descriptor_proto().options.as_ref();
        Self {
            path: format!("{}/{}", method.parent_service().full_name(), method.name()),
            input: method.input(),
            output: method.output(),
            client_streams: method.is_client_streaming(),
            server_streams: method.is_server_streaming(),
            no_side_effects: options
                .is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects),
        }
    }
}
