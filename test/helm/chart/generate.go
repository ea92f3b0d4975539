package chart

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Labels of the objects of the manifests.
const (
	labelComponent = "app.kubernetes.io/component"
	exporter       = "exporter"
)

// header begins each template.
const header = "{{- /* Generated from manifests/ by package test/helm/chart: make generate. DO NOT EDIT. */ -}}\n"

// switches returns the conditions of the components that are not switched on by .Values.NAME.enabled.
func switches() map[string]string {
	on := map[string]string{
		"by-label":           ".Values.byLabel.enabled",
		"cert-manager":       `eq .Values.certificates.from "cert-manager"`,
		"cluster-autoscaler": ".Values.clusterAutoscaler.enabled",
		"ledger-database":    ".Values.ledgerDatabase.enabled",
		"network-policy":     ".Values.networkPolicy.enabled",
	}
	for _, engine := range []string{"jobset", "trainer", "mpi", "ray", "spark", "argo-workflows", "tekton"} {
		on[engine] = fmt.Sprintf("index .Values.engines %q", engine)
	}
	return on
}

// Switch returns the condition under which a component is in the chart.
func Switch(component string) string {
	return cmp.Or(switches()[component], ".Values."+component+".enabled")
}

// Generate returns what is generated of a chart from the manifests in dir, by the names of the files in the chart.
func Generate(dir, chart string) (map[string]string, error) {
	components, err := Components(dir)
	if err != nil {
		return nil, err
	}
	base, err := Kustomize(dir, "")
	if err != nil {
		return nil, err
	}
	merger := merger{base: byID(base), objects: byID(base), variants: map[string][]variant{}, removed: map[string][]string{}}
	for _, component := range components {
		rendered, err := Kustomize(dir, "", component)
		if err != nil {
			return nil, err
		}
		merger.add(Switch(component), byID(rendered))
	}
	files, err := merger.templates()
	if err != nil {
		return nil, err
	}
	const name = "values.schema.json"
	files[name], err = valuesSchema(filepath.Join(chart, name), merger.base[policies])
	return files, err
}

// templates returns the templates by the names of their files: one for each part of Gridlatch and each component.
func (m *merger) templates() (map[string]string, error) {
	writers := map[string]*writer{}
	for _, id := range slices.Sorted(maps.Keys(m.objects)) {
		object := m.objects[id]
		if object["kind"] == "Namespace" {
			continue // it is there before the release
		}
		n, when := m.merge(id)
		if err := finish(object, &n); err != nil {
			return nil, err
		}
		file := filepath.Join("templates", "manifests", object.Label(labelComponent)+".yaml")
		if writers[file] == nil {
			writers[file] = &writer{}
			writers[file].WriteString(header)
		}
		writers[file].object(n, and(when, belongs(object)))
	}
	files := map[string]string{}
	for name, w := range writers {
		files[name] = w.String()
	}
	return files, nil
}

func byID(objects []Object) map[string]Object {
	all := map[string]Object{}
	for _, o := range objects {
		all[o.ID()] = o
	}
	return all
}

// A merger makes one object of those with one ID in the base and with each component.
type merger struct {
	base, objects map[string]Object
	variants      map[string][]variant // by ID, under the condition of a component
	removed       map[string][]string  // by ID, the conditions of the components that take the object out
}

// add remembers what a component makes of the objects.
func (m *merger) add(when string, rendered map[string]Object) {
	for id, object := range rendered {
		if m.objects[id] == nil {
			m.objects[id] = object
		}
		m.variants[id] = append(m.variants[id], variant{when, map[string]any(object)})
	}
	for id := range m.base {
		if rendered[id] == nil {
			m.removed[id] = append(m.removed[id], when)
		}
	}
}

// merge returns one object, and the condition under which it is there.
func (m *merger) merge(id string) (n node, when string) {
	if base, ok := m.base[id]; ok {
		return merge(map[string]any(base), m.variants[id]), no(m.removed[id]...)
	}
	return mergeAdded(m.variants[id]), or(conditions(m.variants[id])...)
}

// belongs returns the condition for the objects of a part of Gridlatch that can be left out.
func belongs(object Object) string {
	switch {
	case object.Label(labelComponent) == exporter,
		object.ID() == "NetworkPolicy "+placedIn+"/gridlatch-export", object.ID() == "PodMonitor "+placedIn+"/gridlatch-export":
		return ".Values.exporter.enabled"
	case object["kind"] == "PriorityClass":
		return `eq .Values.priorityClassName "gridlatch"`
	case object["kind"] == "PodDisruptionBudget":
		return "gt (int .Values.replicas) 1" // a budget for one pod would keep its node from being drained
	}
	return ""
}

// finish puts into an object what all objects get, and what users may set.
func finish(object Object, n *node) error {
	all := []field{{path: "metadata.labels", change: more("", include("gridlatch.labels", "."))}}
	if object["kind"] == "CustomResourceDefinition" {
		all = append(all, field{path: "metadata.annotations", change: entry("helm.sh/resource-policy", "", "keep")})
	}
	for _, f := range fields() {
		if f.kind == object["kind"] && (f.name == "" || strings.HasSuffix(object.ID(), " "+placedIn+"/"+f.name)) {
			all = append(all, f)
		}
	}
	for _, f := range all {
		if err := f.set(n); err != nil {
			return fmt.Errorf("%s: %w", object.ID(), err)
		}
	}
	return nil
}

// object writes a document.
func (w *writer) object(n node, when string) {
	if when != "" {
		w.line(0, "{{- if "+when+" }}")
	}
	w.line(0, "---")
	w.entries(n.parts, 0)
	if when != "" {
		w.line(0, "{{- end }}")
	}
}
