{{/* Envoy's configuration for the layout and the source of certificates. */}}
{{- define "postern.envoy" -}}
{{- $file := .Values.layout -}}
{{- if and (eq .Values.tls.source "spire") (eq .Values.layout "shared") }}{{ $file = "spire" }}{{ end -}}
{{- tpl (.Files.Get (printf "files/envoy-%s.yaml" $file)) . -}}
{{- end }}
