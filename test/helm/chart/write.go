package chart

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// placedIn is the namespace of the manifests, in whose place the templates have that of the release.
const placedIn = "gridlatch-system"

// A writer writes nodes as YAML in a template.
type writer struct{ strings.Builder }

// part writes a part of a map or a list, under its condition. lead is the key, or the dash of an item.
func (w *writer) part(p part, indent int, lead string) {
	when := and(p.when, p.value.presence())
	if when != "" {
		w.line(0, "{{- if "+when+" }}")
	}
	w.value(p.value, indent, lead)
	if when != "" {
		w.line(0, "{{- end }}")
	}
}

// presence returns the condition under which the value has any part at all.
func (n node) presence() string {
	if n.form != isMap && n.form != isList || len(n.parts) == 0 {
		return ""
	}
	var all []string
	for _, p := range n.parts {
		all = append(all, and(p.when, p.value.presence()))
	}
	return or(all...)
}

func (w *writer) value(n node, indent int, lead string) {
	switch {
	case n.form == isChoice:
		w.choice(n, indent, lead)
	case n.form == isText:
		w.textOf(n, indent, lead)
	case n.form == isScalar:
		w.line(indent, lead+" "+scalar(n.scalar, indent+2))
	case len(n.parts) == 0 && n.form == isMap:
		w.line(indent, lead+" {}")
	case len(n.parts) == 0:
		w.line(indent, lead+" []")
	case n.form == isList:
		w.line(indent, lead)
		w.items(n, nested(indent, lead))
	case lead == "-":
		w.itemMap(n, indent)
	default:
		w.line(indent, lead)
		w.entries(n.parts, indent+2)
	}
}

// nested returns the column of the items of a list, which Kubernetes writes below the key.
func nested(indent int, lead string) int {
	if lead == "-" {
		return indent + 2
	}
	return indent
}

func (w *writer) choice(n node, indent int, lead string) {
	word := "if "
	for _, p := range n.parts {
		if p.when == "" {
			w.line(0, "{{- else }}")
		} else {
			w.line(0, "{{- "+word+p.when+" }}")
		}
		w.value(p.value, indent, lead)
		word = "else if "
	}
	w.line(0, "{{- end }}")
}

func (w *writer) textOf(n node, indent int, lead string) {
	column := nested(indent, lead)
	if !strings.HasPrefix(n.text, "{{-") {
		w.line(indent, strings.TrimSpace(lead+" "+n.text))
		return
	}
	if lead != "" {
		column = indent + 2
		w.line(indent, lead)
	}
	w.line(column, strings.ReplaceAll(n.text, "{{INDENT}}", strconv.Itoa(column)))
}

func (w *writer) items(n node, indent int) {
	for _, p := range n.parts {
		if p.value.form == isText && strings.HasPrefix(p.value.text, "{{-") {
			w.part(p, indent, "")
			continue
		}
		w.part(p, indent, "-")
	}
}

// itemMap writes a map behind a dash: first an entry that is always there, the name if there is one.
func (w *writer) itemMap(n node, indent int) {
	parts := slices.Clone(n.parts)
	first := slices.IndexFunc(parts, func(p part) bool { return p.key == "name" && p.when == "" })
	if first < 0 {
		first = slices.IndexFunc(parts, func(p part) bool { return and(p.when, p.value.presence()) == "" })
	}
	parts = slices.Concat(parts[first:first+1], parts[:first], parts[first+1:])
	var inner writer
	inner.entries(parts, indent+2)
	w.line(indent, "- "+strings.TrimSuffix(inner.String()[indent+2:], "\n"))
}

func (w *writer) entries(parts []part, indent int) {
	for _, p := range parts {
		lead := ""
		if p.key != "" {
			lead = scalar(p.key, 0) + ":"
		}
		w.part(p, indent, lead)
	}
}

func (w *writer) line(indent int, text string) {
	w.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

// scalar returns a scalar as YAML in a template. Further lines of a long text begin in the column indent.
func scalar(value any, indent int) string {
	text, ok := value.(string)
	if !ok {
		encoded, err := json.Marshal(value)
		if err != nil {
			return "" // of a value that was JSON
		}
		return string(encoded)
	}
	if text == placedIn {
		return "{{ .Release.Namespace | quote }}" // a namespace may look like a number
	}
	return strings.ReplaceAll(strings.ReplaceAll(written(text, indent), "{{", `{{ "{{" }}`), placedIn, "{{ .Release.Namespace }}")
}

func written(text string, indent int) string {
	if strings.Contains(text, "\n") && !strings.ContainsAny(text[:1], " \n") && !strings.HasSuffix(text, "\n\n") {
		begin := "|-"
		if strings.HasSuffix(text, "\n") {
			begin = "|"
		}
		for line := range strings.Lines(strings.TrimSuffix(text, "\n")) {
			begin += "\n"
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				begin += strings.Repeat(" ", indent) + line
			}
		}
		return begin
	}
	var read map[string]any
	if err := yaml.Unmarshal([]byte("key: "+text+"\n"), &read); err == nil && read["key"] == text {
		return text
	}
	encoded, err := json.Marshal(text)
	if err != nil {
		return "" // of a text that was JSON
	}
	return string(encoded)
}
