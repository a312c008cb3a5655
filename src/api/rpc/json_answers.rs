//! Answers that are JSON before they come to the stack.

/// In the extensions of a request: its client wants JSON. A handler that has its answers as JSON already puts it into the
/// extensions of its response and gives JSON instead of protobuf; the answers of the others are translated.
#[derive(Clone, Copy, Debug)]
pub struct JsonAnswers(());

impl JsonAnswers {
    /// What `request` carries of it.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get().copied()
    }

    pub(super) fn wanted() -> Self {
        Self(())
    }
}
