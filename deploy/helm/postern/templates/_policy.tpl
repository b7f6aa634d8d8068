{{/* `listen` of the policy. */}}
{{- define "postern.listen" -}}
{{- $files := include "postern.certificates" . | fromYaml -}}
{{- $mtls := merge (dict "mode" "mtls" "ca" (include "postern.authority" .) "allow" (list (include "postern.id" (list . "router")))) $files -}}
{{- $tls := merge (dict "mode" "tls") $files -}}
{{- $listen := dict -}}
{{- if eq .Values.layout "sidecar" -}}
{{- $_ := set $listen "check" (dict "address" "unix:/run/postern/check.sock") -}}
{{- if .Values.extProc.enabled }}{{ $_ := set $listen "ext_proc" (dict "address" "unix:/run/postern/ext-proc.sock") }}{{ end -}}
{{- else -}}
{{- $_ := set $listen "check" (dict "address" "0.0.0.0:9191" "tls" $mtls) -}}
{{- if .Values.extProc.enabled }}{{ $_ := set $listen "ext_proc" (dict "address" "0.0.0.0:9194" "tls" $mtls) }}{{ end -}}
{{- end -}}
{{- if eq .Values.tls.source "none" -}}
{{- $_ := set $listen "admin" (dict "address" "127.0.0.1:9192") -}}
{{- else -}}
{{- $_ := set $listen "admin" (dict "address" "0.0.0.0:9192" "tls" $tls) -}}
{{- if .Values.issuer.enabled -}}
{{- $_ := set $listen "issuer" (dict "address" "0.0.0.0:9193" "url" (include "postern.issuerUrl" .) "tls" $tls) -}}
{{- end -}}
{{- end -}}
{{ toYaml $listen }}
{{- end }}

{{/* The files of the policy: name → text. */}}
{{- define "postern.files" -}}
{{- $main := dict "version" 1 "listen" (include "postern.listen" . | fromYaml) "state" .Values.state "workers" .Values.workers -}}
{{- $files := dict -}}
{{- if .Values.realms -}}
{{- $_ := set $main "realms" (list "realms/*.yaml") -}}
{{- range $name, $policy := .Values.realms -}}
{{- $_ := set $files (printf "realm.%s.yaml" $name) (toYaml (merge (dict "version" 1 "realm" $name) $policy)) -}}
{{- end -}}
{{- $_ := set $files "postern.yaml" (toYaml (merge $main (omit .Values.policy "identity" "roles" "routes"))) -}}
{{- else -}}
{{- $_ := set $files "postern.yaml" (toYaml (merge $main .Values.policy)) -}}
{{- end -}}
{{ toYaml $files }}
{{- end }}
