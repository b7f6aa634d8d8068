# Envoy and Postern side by side in one group, with a Redis beside them. Replicas of the group share what is in Redis.
variable "image" {
  type        = string
  description = "Postern's image, by digest: ghcr.io/…/postern@sha256:…"
}

variable "issuer" {
  type    = string
  default = "https://keycloak.example/realms/agentcube"
}

job "agentcube-edge" {
  type = "service"

  update {
    max_parallel     = 1
    canary           = 1
    min_healthy_time = "5s"
    healthy_deadline = "2m"
    auto_revert      = true
    auto_promote     = true
  }

  group "redis" {
    count = 1

    # A folder of the client, declared there as host_volume "postern-redis": what was acknowledged survives the task.
    volume "data" {
      type      = "host"
      source    = "postern-redis"
      read_only = false
    }

    network {
      mode = "bridge"
      port "redis" { to = 6379 }
    }

    service {
      name     = "postern-redis"
      provider = "nomad"
      port     = "redis"
      check {
        type     = "tcp"
        interval = "5s"
        timeout  = "1s"
      }
    }

    task "redis" {
      driver = "docker"

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      config {
        image = "redis:7.4"
        args  = ["redis-server", "/secrets/redis.conf"]
        ports = ["redis"]
      }

      # A variable of Nomad: `nomad var put nomad/jobs/agentcube-edge redis_password=… admin_secret=… encryption_key=…`
      template {
        destination = "secrets/redis.conf"
        perms       = "0444"
        data        = <<-EOF
          appendonly yes
          appendfsync always
          dir /data
          requirepass {{ with nomadVar "nomad/jobs/agentcube-edge" }}{{ .redis_password }}{{ end }}
        EOF
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }

  group "edge" {
    count = 2

    network {
      mode = "bridge"
      port "https" {
        static = 443
        to     = 10000
      }
      port "admin" { to = 9192 }
    }

    service {
      name     = "agentcube-edge"
      provider = "nomad"
      port     = "https"
      check {
        type     = "tcp"
        interval = "5s"
        timeout  = "1s"
      }
    }

    # Postern is started before Envoy, and ended after it.
    task "postern" {
      driver = "docker"
      # The group of Envoy's user: the socket is 0660.
      user = "65532:101"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      # A token of Nomad's for this workload: Postern's federation, or SPIRE, may swap it for another identity.
      identity {
        name        = "postern"
        aud         = ["postern"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      config {
        image           = var.image
        args            = ["serve", "--config", "/local/postern.yaml"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      template {
        destination = "secrets/admin-secret"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/agentcube-edge\" }}{{ .admin_secret }}{{ end }}"
        change_mode = "noop"
      }

      template {
        destination = "secrets/key-encryption-key"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/agentcube-edge\" }}{{ .encryption_key }}{{ end }}"
        change_mode = "noop"
      }

      template {
        destination = "secrets/redis-password"
        perms       = "0400"
        uid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/agentcube-edge\" }}{{ .redis_password }}{{ end }}"
        change_mode = "noop"
      }

      # Postern reads a changed policy by itself. The addresses of `state` are read when it starts.
      template {
        destination = "local/postern.yaml"
        perms       = "0444"
        change_mode = "noop"
        data        = <<-EOF
          version: 1
          listen:
            check: { address: "unix:/alloc/data/check.sock" }
            admin: { address: 127.0.0.1:9192 }
            issuer: { address: 127.0.0.1:9193, url: "http://127.0.0.1:9193" }
          state:
            redis:
              url: "redis://{{ range nomadService "postern-redis" }}{{ .Address }}:{{ .Port }}{{ end }}/0"
              password: "$${file:/secrets/redis-password}"
          admin: { secret: "$${file:/secrets/admin-secret}" }
          issuer: { keys: { encryption_key: "$${file:/secrets/key-encryption-key}" } }
          identity:
            - name: users
              type: oidc
              issuer: ${var.issuer}
              audience: [agentcube-router]
              verified_by: envoy
              metadata_key: users
              forward: true
              claims: { subject: sub, roles: realm_access.roles }
          roles:
            sandbox:invoke: {}
            sandbox:manage: { inherits: ["sandbox:invoke"] }
          routes:
            - { id: health, methods: [GET], path: /healthz, public: true }
            - { id: create-sandbox, methods: [POST], path: /v1/sandboxes, roles: ["sandbox:manage"], downstream: { audience: workloadmanager } }
            - id: use-sandbox
              methods: [GET, POST]
              path: "/v1/sandboxes/{id}/**"
              roles: ["sandbox:invoke"]
              owner: { resource: sandbox, id: "path:id" }
              downstream: { audience: picod }
        EOF
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }

    task "envoy" {
      driver = "docker"
      user   = "101"

      config {
        image           = "envoyproxy/envoy:v1.40.0"
        args            = ["envoy", "--config-path", "/etc/envoy/envoy.yaml", "--drain-time-s", "10"]
        ports           = ["https"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        # envoy/envoy.yaml of Postern's repository, with the socket /alloc/data/check.sock; certificates in certs/.
        volumes = ["/etc/agentcube/envoy:/etc/envoy:ro"]
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
