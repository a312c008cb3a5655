//! Puts the gateway together, starts it, and ends it in the opposite order.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tonic_health::ServingStatus;

use crate::{
    api::{self, ApiSettings, InternalAccess, InternalSettings, ListenSettings, Listener},
    config::{Config, INTERNAL_LISTEN, SessionStoreKind},
    gateway::Gateway,
    model::WorkerKey,
    run::{Runs, sweep_ended},
    runner::{
        BadToolPattern, Catalog, CatalogError, CommandWorker, Contexts, DeclaredBackend, Launcher,
        OrchestratorSettingsError, OrchestratorWorker, Orchestrators, Services, ToolPolicy,
        WorkerSettingsError,
        llm::{LanguageModel, LlmSettingsError, OpenAiCompatible},
        mcp::{McpRegistry, McpSettingsError},
        repo::{
            git::CloneLimits,
            open::{RepoLimits, Repositories},
            policy::{HostRuleError, RepoPolicy},
        },
    },
    runtime::{
        files,
        shutdown::{self, Shutdown},
        task::{self, TaskKind},
    },
    session::{Sessions, sweep_unused},
    storage::{
        FileOptions, FileSessionStore, MemoryRunLog, MemorySessionStore, OpenError, OpenLogError, RunLog,
        SegmentRunLog, SessionStore,
    },
};

/// Files that are open beside connections: stores, logs, pipes of workers.
const OTHER_FILES: u64 = 512;

/// How long the start waits until runs that were cut short are taken up. Some 10,000 are in a second; it takes longer
/// only when the disk is full or fails.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(10);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was to be bound.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot make the data folder {}", folder.display())]
    Data {
        /// The folder.
        folder: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// The sessions cannot be read.
    #[error(transparent)]
    Sessions(#[from] OpenError),
    /// The runs cannot be read.
    #[error(transparent)]
    Runs(#[from] OpenLogError),
    /// A fault of the gateway.
    #[error("reading the runs panicked")]
    OpeningPanicked,
    /// A rule for hosts cannot be read.
    #[error("repos.hosts")]
    Hosts(#[from] HostRuleError),
    /// The language model cannot be used as it is configured.
    #[error(transparent)]
    Model(#[from] LlmSettingsError),
    /// The MCP servers cannot be used as they are configured.
    #[error("mcp.servers")]
    Tools(#[from] McpSettingsError),
    /// The rules for tools cannot be used as they are configured.
    #[error(transparent)]
    ToolRules(#[from] BadToolPattern),
    /// A configured worker cannot be what it is declared as.
    #[error("workers.{0}: {1}")]
    Declaration(WorkerKey, WorkerSettingsError),
    /// An orchestrator cannot be called.
    #[error("workers.{0}")]
    Orchestrator(WorkerKey, #[source] OrchestratorSettingsError),
    /// A configured worker has the key of another.
    #[error("workers")]
    Worker(#[from] CatalogError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// A part failed without which it cannot go on.
    Broken,
}

/// The logs of runs as they are configured.
struct RunLogOpened {
    log: Arc<dyn RunLog>,
    /// True when they are there after a restart.
    survives: bool,
}

/// Runs the gateway until it is asked to end. All that can fail early fails before a port is served.
pub async fn serve(config: Config) -> Result<Ended, StartError> {
    let folder = config.data.clone();
    std::fs::create_dir_all(&folder).map_err(|source| StartError::Data { folder, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let files = files::raise_limit();
    let connections = bounded_connections(config.connections.clone(), files);
    let listener = Listener::bind(config.listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: config.listen, source })?;
    let internal = bind_internal(&config).await?;

    // From the inside out: what is stored, what runs, what serves.
    let shutdown = Shutdown::default();
    let RunLogOpened { log, survives: logs_survive } = run_log(&config).await?;
    let store = session_store(&config)?;
    let sessions = Sessions::new(store, config.session.most);
    let runs = Runs::new(log.clone(), shutdown.clone()).watched(config.watch);
    let orchestrators = Orchestrators::default();
    let catalog = catalog(&config, &orchestrators, &runs)?;
    let tools = Arc::new(McpRegistry::new(config.mcp.servers.clone())?);
    let repositories = Arc::new(repositories(&config, listener.address())?);
    let services = Services {
        catalog: Arc::new(catalog),
        model: language_model(&config)?,
        tools: tools.clone(),
        tool_policy: ToolPolicy::new(&config.tools)?,
        repositories,
    };
    let contexts = Contexts::new(services);
    let launcher = Launcher::new(&config.runner, config.data.join("artifacts"), contexts, sessions.clone());
    tell_start(&config, listener.address());
    // Before anybody can ask for a session, drop one, or see a run that nobody works at.
    recover(launcher.clone(), runs.clone()).await;
    let forget = launcher.clone();
    let sweepers = [
        task::spawn(TaskKind::Sweeper, sweep_ended(log, config.run.retention)),
        task::spawn(
            TaskKind::Sweeper,
            sweep_unused(sessions.clone(), config.session.retention, move |session_id| {
                let launcher = forget.clone();
                async move { launcher.forget(session_id).await }
            }),
        ),
    ];
    let gateway = Gateway::new(sessions.clone(), runs.clone(), launcher.clone(), shutdown.clone());
    let gateway = gateway.with_orchestrators(orchestrators);
    let body_timeout = config.connections.body_timeout;
    let api_settings = ApiSettings { cors: config.cors.clone(), ws: config.ws.clone(), body_timeout };
    let loopback = internal.as_ref().is_none_or(|it| it.address().ip().is_loopback());
    let access = InternalAccess::new(&config.internal.token, loopback);
    if access == InternalAccess::Nobody {
        tracing::warn!(
            "internal_listen is not on loopback and there is no internal.token: no orchestrator may push"
        );
    }
    let internal_router = api::internal_router(gateway.clone(), InternalSettings { access, body_timeout });
    let (router, health) = api::router(gateway, &api_settings).await;
    announce(listener.address());
    let internal = internal.map(|internal| {
        let served = api::serve(internal, internal_router, connections.clone(), shutdown.clone());
        task::spawn(TaskKind::Listener, served)
    });
    let served = task::spawn(TaskKind::Listener, api::serve(listener, router, connections, shutdown.clone()));

    let ended = tokio::select! {
        _ = terminate.recv() => Ended::Asked,
        _ = interrupt.recv() => Ended::Asked,
        () = shutdown::fatal() => Ended::Broken,
    };

    // From the outside in. First nothing new: health checks fail, streams end with a resumable error.
    tracing::info!("draining");
    health.set_service_status("", ServingStatus::NotServing).await;
    shutdown.draining.give();
    // Then the connections: requests under way get their answers.
    drop(served.await);
    if let Some(internal) = internal {
        drop(internal.await);
    }
    // Then the runs: their workers are told, and end. Some runs go on when the gateway is back.
    launcher.stop_all(&runs, logs_survive).await;
    tools.close().await;
    sweepers.iter().for_each(tokio::task::JoinHandle::abort);
    // Last what is stored.
    if let Err(error) = sessions.flush().await {
        tracing::error!(%error, "the last changes of sessions may be lost");
    }
    tracing::info!("ended");
    Ok(ended)
}

/// The listener of orchestrators and operators. A second gateway on a machine, that was not told where to listen and has no
/// orchestrators, does without.
async fn bind_internal(config: &Config) -> Result<Option<Listener>, StartError> {
    let address = config.internal_listen;
    let needed = config.workers.values().any(|it| it.orchestrator.is_some());
    match Listener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && address == INTERNAL_LISTEN && !needed => {
            tracing::info!(%address, "another gateway listens for operators here; this one does without");
            Ok(None)
        }
        Err(source) => Err(StartError::Listen { address, source }),
    }
}

/// Leaves files for everything that is no connection.
fn bounded_connections(settings: ListenSettings, files: u64) -> ListenSettings {
    let most = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
    if settings.max_connections > most {
        tracing::warn!(
            files,
            most,
            "the system allows fewer open files than connections.max_connections needs"
        );
    }
    ListenSettings { max_connections: settings.max_connections.min(most), ..settings }
}

async fn run_log(config: &Config) -> Result<RunLogOpened, StartError> {
    let Some(options) = config.run.segment_options() else {
        let log = Arc::new(MemoryRunLog::new(config.run.memory_limits()));
        return Ok(RunLogOpened { log, survives: false });
    };
    let folder = config.data.join("runs");
    let opened = task::blocking(move || SegmentRunLog::open(folder, options)).await;
    let log = Arc::new(opened.ok_or(StartError::OpeningPanicked)??);
    Ok(RunLogOpened { log, survives: true })
}

/// Takes up the runs that the last end of the gateway cut short. What cannot be written yet is not waited for: it is taken
/// up as soon as it can be.
async fn recover(launcher: Launcher, runs: Runs) {
    let recovery = task::spawn(TaskKind::Recovery, async move { launcher.recover(&runs).await });
    if tokio::time::timeout(RECOVERY_PATIENCE, recovery).await.is_err() {
        tracing::warn!("not all runs that were cut short are taken up yet; this goes on");
    }
}

fn session_store(config: &Config) -> Result<Arc<dyn SessionStore>, StartError> {
    match config.session.store {
        SessionStoreKind::Memory => Ok(Arc::new(MemorySessionStore::default())),
        SessionStoreKind::File => {
            let file = config.data.join("init_sessions.json");
            Ok(Arc::new(FileSessionStore::open(file, FileOptions::default())?))
        }
    }
}

fn repositories(config: &Config, listening: SocketAddr) -> Result<Repositories, StartError> {
    let settings = &config.repos;
    let hosts = settings.hosts.as_ref().map(|hosts| hosts.iter().map(|it| it.parse()).collect());
    let policy = RepoPolicy::new(settings.roots.clone(), hosts.transpose()?, listening.ip().is_loopback());
    let clone = CloneLimits { bytes: settings.clone_bytes, timeout: settings.clone_timeout };
    let limits = RepoLimits { clone, ..RepoLimits::default() };
    let repositories = Repositories::new(policy, config.data.join("clones"), limits);
    if let Err(error) = repositories.remove_leftovers() {
        tracing::warn!(%error, "could not remove the leftovers of unfinished clones");
    }
    Ok(repositories)
}

fn language_model(config: &Config) -> Result<Option<Arc<dyn LanguageModel>>, LlmSettingsError> {
    if !config.llm.is_configured() {
        return Ok(None);
    }
    Ok(Some(Arc::new(OpenAiCompatible::new(config.llm.clone())?)))
}

/// The gateway's own workers and the configured ones.
fn catalog(config: &Config, orchestrators: &Orchestrators, runs: &Runs) -> Result<Catalog, StartError> {
    let mut catalog = Catalog::builtin();
    for (key, settings) in &config.workers {
        let backend = settings.backend().map_err(|error| StartError::Declaration(key.clone(), error))?;
        match backend {
            DeclaredBackend::Command => {
                let folder = config.folder.clone();
                catalog.add(Arc::new(CommandWorker::new(key.clone(), settings.clone(), folder)))?;
            }
            DeclaredBackend::Orchestrator(base) => {
                let (token, orchestrators) = (&config.internal.token, orchestrators.clone());
                let worker =
                    OrchestratorWorker::new(key.clone(), settings, base, token, orchestrators, runs.clone());
                catalog.add(Arc::new(worker.map_err(|it| StartError::Orchestrator(key.clone(), it))?))?;
            }
        }
    }
    Ok(catalog)
}

/// What an operator wants to know first.
fn tell_start(config: &Config, address: SocketAddr) {
    let model = if config.llm.is_configured() { config.llm.model.as_str() } else { "none" };
    let (data, version) = (config.data.display(), env!("CARGO_PKG_VERSION"));
    tracing::info!(version, %data, model, workers = config.workers.len(), "starting");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "everybody who reaches this address can use the gateway: nobody is asked who they are");
    }
}

/// The line that tells scripts where the gateway listens.
#[allow(clippy::print_stdout, reason = "scripts read this line")]
fn announce(address: SocketAddr) {
    use std::io::Write as _;
    println!("listening on http://{address}");
    drop(io::stdout().flush());
}
