{{/* Labels that only Helm knows. All others are in the manifests. */}}
{{- define "gridlatch.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "gridlatch.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The Secrets that the exporter may read besides those of the manifests. */}}
{{- define "gridlatch.secretNames" -}}
{{- $names := .Values.exporter.secretNames -}}
{{- range list (.Values.exporter.provider | default dict) (dig "forecast" "provider" dict (.Values.defaultPolicy.spec | default dict)) -}}
{{- with .secretRef }}{{ $names = append $names .name }}{{ end -}}
{{- end -}}
{{- range without (uniq $names) "electricity-maps" "watttime" "carbon-aware-sdk" "forecast-http" "gridlatch-provider" }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "gridlatch.addresses" -}}
{{- range . }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* Addresses without those of the metadata servers of clouds, where the addresses have them. */}}
{{- define "gridlatch.addressesOutside" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . | quote }}
    {{- if eq . "0.0.0.0/0" }}
    except: [169.254.0.0/16]
    {{- else if eq . "::/0" }}
    except: ["fe80::/10", "fd00:ec2::254/128"]
    {{- end }}
{{- end }}
{{- end }}

{{- define "gridlatch.ports" -}}
{{- range . }}
- port: {{ . }}
{{- end }}
{{- end }}
