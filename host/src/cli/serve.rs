//! `serve`: answers programs over HTTP.

use super::args::{ModelArgs, NumericsArg, SpeedArgs, seconds};
use super::exit::{CliError, Exit};
use super::model::Model;
use super::prompt::read_text;
use super::{Global, output, signals, turns};
use clap::Args;
use host::serve::{Ended, Reopen, Served, Settings};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Holds an API key, if no file does.
const KEY_VARIABLE: &str = "TERCET_API_KEY";

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  host serve                                  the shipped model at http://127.0.0.1:8080
  host serve -m model.tercet --port 9000
  host serve --host 0.0.0.0 --api-key-file key.txt
  curl http://127.0.0.1:8080/v1/completions -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 50}'

One generation runs at a time, a few wait, more are answered with 503. docs/server.md lists the endpoints.")]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Arithmetic
    #[arg(long, value_enum, default_value = "device", help_heading = "Model")]
    numerics: NumericsArg,
    /// Form of conversations: auto (the model's own), bitnet, chatml, falcon3, llama3, plain (just continue the text),
    /// or a Jinja file [default: auto; plain for the shipped story model, which knows no turns]
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,
    /// What clients call the model [default: the name of its file or folder]
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    #[command(flatten)]
    speed: SpeedArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The server's own options.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
struct ServerArgs {
    /// Address to listen at; one that other machines reach needs an API key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Port; 0 is any free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// File with API keys, one on each line [default: $TERCET_API_KEY, else no key is needed]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let other machines in without an API key
    #[arg(long)]
    insecure: bool,
    /// Generations that may wait while one runs
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=1024))]
    queue: u16,
    /// Longest body of a request
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20,
        value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    max_body: u32,
    /// Longest generation
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    timeout: Duration,
    /// Longest time in which a request must have come, and in which a client must take a piece of an answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    client_timeout: Duration,
    /// Time for the generation that runs when the server is stopped
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    parallel_connections: u16,
}

/// Runs the command.
pub fn run(args: ServeArgs, global: Global) -> Result<(), CliError> {
    let server = &args.server;
    if server.timeout.is_zero() || server.client_timeout.is_zero() {
        return Err(CliError::usage("--timeout and --client-timeout: expected more than 0 seconds"));
    }
    let address = address(&server.host, server.port)?;
    let keys = keys(server.api_key_file.as_deref())?;
    if !address.ip().to_canonical().is_loopback() && keys.is_empty() && !server.insecure {
        return Err(CliError::usage(format!(
            "--host {}: other machines could use this server; give it a key with --api-key-file or {KEY_VARIABLE}, or \
             say --insecure",
            server.host
        )));
    }
    let settings = Settings {
        keys,
        queue: server.queue.into(),
        max_body: server.max_body as usize,
        connections: server.parallel_connections.into(),
        deadline: server.timeout,
        client_timeout: server.client_timeout,
        grace: server.grace,
        log: if global.quiet { |_| {} } else { |text| output::note(text) },
        ..Settings::default()
    };
    let listener = host::serve::listen(address).map_err(|error| CliError::listen(address, &error))?;
    let bound = listener.local_addr().map_err(|error| CliError::listen(address, &error))?;
    signals::clean_up_on_terminate();
    // told even with --quiet: with port 0 nobody could find it otherwise
    output::note(&format!("listening on http://{bound}"));
    let load = move || load(args, global.quiet);
    host::serve::run(listener, settings, load, &|| signals::check().is_err()).map_err(|ended| match ended {
        Ended::Load(error) => error,
        Ended::Panicked => CliError::new(Exit::Internal, ended),
        Ended::System { .. } => CliError::new(Exit::System, ended),
    })
}

/// Loads the model on the thread of its engine.
fn load(args: ServeArgs, quiet: bool) -> Result<Served, CliError> {
    let mut model = Model::open(&args.model, quiet)?;
    let tokenizer = model.tokenizer()?;
    let turns = turns::select(&model, &tokenizer, args.chat_template.as_deref())?;
    let engine = model.engine(&args.model, args.numerics, quiet)?;
    let file = model.path.file_stem().filter(|_| model.path.is_file()).or(model.path.file_name());
    let own = file.map_or("model".into(), |name| name.to_string_lossy().into_owned());
    let name = args.alias.clone().unwrap_or(own);
    if !quiet {
        output::note(&format!("{}; {}", model.path.display(), engine.describe()));
    }
    let lookup = args.speed.lookup.into();
    let reopen: Option<Reopen> = match Model::is_board(&args.model) {
        // a board that comes back needs the weights again
        true => Some(Box::new(move || {
            let engine = model.engine(&args.model, args.numerics, true);
            engine.map_err(|error| error.message.unwrap_or_default())
        })),
        false => {
            model.release();
            None
        }
    };
    Ok(Served { name, tokenizer, turns, engine, reopen, lookup })
}

/// The address that a name and a port stand for.
fn address(host: &str, port: u16) -> Result<SocketAddr, CliError> {
    let found = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found
        .ok_or_else(|| CliError::usage(format!("--host = {host}: expected an address of this machine, like 127.0.0.1")))
}

/// The API keys.
fn keys(file: Option<&Path>) -> Result<Vec<String>, CliError> {
    let Some(path) = file else {
        return Ok(std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()).into_iter().collect());
    };
    let text = read_text(path)?;
    let keys: Vec<String> = text.lines().map(str::trim).filter(|key| !key.is_empty()).map(String::from).collect();
    match keys.is_empty() {
        true => Err(CliError::new(Exit::Data, format!("{}: no key; expected one on each line", path.display()))),
        false => Ok(keys),
    }
}
