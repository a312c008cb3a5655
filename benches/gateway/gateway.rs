//! The gateway under test, with what a row needs of it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    client::Calls,
    lend::{self, Lent, Workshop},
    options::Options,
    process::Server,
};

/// The worker whose output is lent to the benchmark.
const LENDING: &str = "lend";

/// A gateway that runs, with a data folder of its own. It ends with this value.
pub(crate) struct Gateway {
    /// Its process.
    pub(crate) server: Server,
    folder: TempDir,
    workshop: Workshop,
    calls: Calls,
}

/// A run whose worker is this program. Dropped, the run ends.
pub(crate) struct LentRun {
    /// Its id.
    pub(crate) run_id: String,
    /// The way to its worker's output.
    pub(crate) lent: Lent,
}

impl Gateway {
    /// Starts one with the defaults, but for `environment`.
    pub(crate) async fn start(options: &Options, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lend.sock");
        let workshop = Workshop::open(&socket);
        let program = std::env::current_exe().unwrap();
        let config = format!(
            "[workers.{LENDING}]\ncommand = [{program:?}, \"{}\", {socket:?}]\ntimeout = \"2h\"\n",
            lend::ROLE
        );
        let config_file = folder.path().join("rungate.toml");
        std::fs::write(&config_file, config).unwrap();
        let mut command = Command::new(&options.binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
        command.arg("--data").arg(folder.path().join("data")).arg("--config").arg(config_file);
        command.current_dir(folder.path()).stdin(Stdio::null());
        // Long enough for every row: what is measured must not be swept away meanwhile.
        command.env("RUNGATE_RUN_RETENTION", "2h").envs(environment.iter().copied());
        let server = Server::start(&mut command, options.server_cores());
        let calls = Calls::connect(server.address()).await;
        Self { server, folder, workshop, calls }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a run in a session of its own; its events come from this program.
    pub(crate) async fn lent_run(&mut self) -> LentRun {
        let (session_id, _) = self.calls.init_run().await;
        let run_id = self.calls.start_run(&session_id, LENDING, "").await;
        let lent = self.workshop.lent(&run_id).await;
        LentRun { run_id, lent }
    }

    /// True when the configuration in force has a setting `key`, whatever its table.
    pub(crate) fn knows(options: &Options, key: &str) -> bool {
        printed(options).lines().any(|it| it.strip_prefix(key).is_some_and(|it| it.starts_with(" = ")))
    }

    /// What a gateway with the defaults waits for before an event is acknowledged and shown.
    pub(crate) fn durability(options: &Options) -> String {
        let printed = printed(options);
        let config: toml::Table = printed.parse().unwrap();
        config["run"]["log"].as_str().unwrap().to_owned()
    }
}

/// The configuration in force.
fn printed(options: &Options) -> String {
    let mut command = Command::new(&options.binary);
    // What is said to this program is no key of the gateway's configuration.
    command.args(["serve", "--print-config"]).env_remove(crate::options::BINARY);
    let printed = command.output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8_lossy(&printed.stdout).into_owned()
}
