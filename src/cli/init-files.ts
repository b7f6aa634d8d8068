/** The commented policy of a first run. @param socket absolute path of the unix socket that Envoy asks by */
export const firstPolicy = (
  socket: string,
): string => `# Postern's policy: who may do what. "postern lint" checks it, a running service takes changes within a second.
version: 1

listen:
  # Envoy asks here. Whoever reaches this socket gets signed tokens, so it is open to its owner and group alone.
  check: { address: "unix:${socket}" }
  # Health, metrics, status, and the owner API.
  admin: { address: 127.0.0.1:9192 }
  # Keys and discovery, by which upstreams verify the tokens that Postern gives them.
  issuer: { address: 127.0.0.1:9193 }

# Owners, revocations and keys. Several replicas share a Redis: redis://user:\${env:REDIS_PASSWORD}@host:6379/0
state: file:./postern.db

# Exchanged for admin tokens by the command line; "postern init" made it.
admin: { secret: "\${file:./admin.secret}" }

identity:
  # Tokens that "postern token mint" makes: enough to try everything without an identity provider.
  - { name: local, type: postern, audience: postern, subject_namespace: "", may_assert: ["sandbox:invoke", "sandbox:manage", admin] }
  # Your identity provider. verified_by: envoy trusts what Envoy's jwt_authn verified under this metadata_key instead.
  # - name: users
  #   type: oidc
  #   issuer: "https://idp.example/realms/main"
  #   audience: [my-api]
  #   verified_by: postern
  #   claims: { subject: sub, roles: realm_access.roles }
  #   subject_namespace: "user:"
  #   may_assert: ["sandbox:invoke", "sandbox:manage"]

roles:
  sandbox:invoke: {}
  sandbox:manage: { inherits: ["sandbox:invoke"] }
  admin: { inherits: ["sandbox:manage"] }

# What no route admits is denied.
routes:
  - { id: health, path: /healthz, public: true }
  - id: create-sandbox
    methods: [POST]
    path: /v1/sandboxes
    roles: ["sandbox:manage"]
    downstream: { audience: workloadmanager }
  # Only the owner of {id} may use it: "postern owner set sandbox s1 alice".
  - id: invoke-sandbox
    methods: [GET, POST]
    path: /v1/sandboxes/{id}/**
    roles: ["sandbox:invoke"]
    owner: { resource: sandbox, id: "path:id", bypass_roles: [admin] }
    # The upstream gets a token of its own in Authorization, never the caller's.
    downstream: { audience: sandbox, ttl: 60s }
    audit: all

# One JSON line for each denial; "all" for each decision.
log: { decisions: denials }
`

/** The Envoy configuration that goes with it: plaintext on loopback, for trying out alone. */
export const firstEnvoy = (
  socket: string,
): string => `# Envoy for a first run: plaintext on loopback, Postern asked about every request, and an upstream that tells what it saw.
# For real use take the files under envoy/ of the project: they terminate TLS and verify JWTs.
#
#   envoy -c envoy.yaml --file-flush-interval-msec 1000
static_resources:
  listeners:
    - name: edge
      address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: edge
                # What Postern matches must be what the upstream reads.
                normalize_path: true
                strip_trailing_host_dot: true
                merge_slashes: true
                path_with_escaped_slashes_action: REJECT_REQUEST
                common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }
                use_remote_address: true
                access_log:
                  - name: envoy.access_loggers.stdout
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
                      log_format:
                        json_format:
                          method: "%REQ(:METHOD)%"
                          path: "%PATH(NQ)%"
                          status: "%RESPONSE_CODE%"
                          details: "%RESPONSE_CODE_DETAILS%"
                          decision: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision)%"
                          reason: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:reason)%"
                          route: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:route)%"
                          subject: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:subject)%"
                          resource: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:resource)%"
                          owner_match: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:owner_match)%"
                          decision_id: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision_id)%"
                http_filters:
                  - name: envoy.filters.http.ext_authz
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
                      transport_api_version: V3
                      grpc_service: { envoy_grpc: { cluster_name: postern }, timeout: 1s }
                      # An unreachable Postern is a denial.
                      failure_mode_allow: false
                      status_on_error: { code: ServiceUnavailable }
                      clear_route_cache: false
                      include_peer_certificate: true
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  ignore_port_in_host_matching: true
                  request_headers_to_remove: [x-envoy-auth-failure-mode-allowed]
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{ match: { prefix: / }, route: { cluster: upstream } }]
    # Stands for your service: answers with the identity headers that reached it.
    - name: upstream
      address: { socket_address: { address: 127.0.0.1, port_value: 10001 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: upstream
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      response_headers_to_add:
                        - header: { key: x-seen-subject, value: "%REQ(x-postern-subject)%" }
                        - header: { key: x-seen-roles, value: "%REQ(x-postern-roles)%" }
                      routes: [{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: "hello from the upstream\\n" } } }]
  clusters:
    - name: postern
      connect_timeout: 1s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      load_assignment:
        cluster_name: postern
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: "${socket}" } } } }] }]
    - name: upstream
      connect_timeout: 1s
      load_assignment:
        cluster_name: upstream
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 10001 } } } }] }]
`
