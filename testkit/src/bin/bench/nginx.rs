//! nginx as a bare proxy: no log, no buffering, connections kept on both sides.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, absolute},
};

use anyhow::Result;
use testkit::{stack, stack::service::Recipe};

/// One process, without a master, so that there is one to measure.
fn config(listen: SocketAddr, upstream: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/nginx-client;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream upstream {{
        server {upstream};
        keepalive 4096;
        keepalive_requests 100000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://upstream;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"
    )
}

pub(crate) fn recipe(
    program: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> Result<Recipe> {
    let folder = absolute(folder)?;
    let config_file = folder.join("nginx.conf");
    fs::write(&config_file, config(listen, upstream, &folder))?;
    Ok(Recipe {
        name: "nginx",
        program: program.to_owned(),
        arguments: vec![
            "-e".into(),
            folder.join("nginx.log").into(),
            "-p".into(),
            folder.clone().into(),
            "-c".into(),
            config_file.into(),
        ],
        environment: Vec::new(),
        log: folder.join("nginx.log"),
        ready_url: stack::url(listen),
    })
}
