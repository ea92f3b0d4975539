// Package manifests_test writes and checks the manifests that are made from the program's own tables.
//
// go test ./manifests -update writes them anew.
package manifests_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/gating/door"
)

var update = flag.Bool("update", false, "write the generated manifests")

// component describes the component of one engine.
type component struct {
	Name, Engine, Group, Version string
	Doors                        []door.Door
}

// Generated returns the line that says where a file comes from.
func (component) Generated() string {
	return "Generated from gating/door/table.go by go test ./manifests -update. DO NOT EDIT."
}

// Plural returns the kinds of the component as users call them.
func (c component) Plural() string {
	return c.each(" and ", func(d door.Door) string { return d.Kind.Kind + "s" })
}

// Resources returns the resources of the component.
func (c component) Resources() []string {
	return c.list(func(d door.Door) []string { return []string{d.Resource} })
}

// WithSubresources returns the resources of the component with all of their subresources.
func (c component) WithSubresources() []string {
	return c.list(func(d door.Door) []string { return []string{d.Resource, d.Resource + "/*"} })
}

// Definitions returns the names of the CustomResourceDefinitions of the component.
func (c component) Definitions() []string {
	return c.list(func(d door.Door) []string { return []string{d.Resource + "." + d.Kind.Group} })
}

func (c component) each(separator string, f func(door.Door) string) string {
	return strings.Join(c.list(func(d door.Door) []string { return []string{f(d)} }), separator)
}

func (c component) list(f func(door.Door) []string) []string {
	var all []string
	for _, d := range c.Doors {
		all = append(all, f(d)...)
	}
	return all
}

// parent is a field that has the door somewhere below it. Child is the next field on the way.
type parent struct{ Name, Path, Dotted, Child string }

func parents(d door.Door) []parent {
	var all []parent
	for i := 1; i < len(d.Field); i++ {
		all = append(all, parent{
			Name: d.Field[i-1], Path: strings.Join(d.Field[:i], ".?"), Dotted: strings.Join(d.Field[:i], "."), Child: d.Field[i],
		})
	}
	return all
}

// literal returns a value as CEL writes it.
func literal(value any) string {
	if text, ok := value.(string); ok {
		return "'" + text + "'"
	}
	return fmt.Sprint(value)
}

// openExpression says in CEL that the door is open after the change.
func openExpression(d door.Door) string {
	if d.Open == nil {
		return "!variables.doorAfter.hasValue()"
	}
	return fmt.Sprintf("variables.doorAfter.orValue(%s) == %[1]s", literal(d.Open))
}

func openWords(d door.Door) string {
	if d.Open == nil {
		return "nothing"
	}
	return fmt.Sprint(d.Open)
}

// components returns the components of all engines, in the order of the table.
func components() []component {
	var all []component
	for _, d := range door.All() {
		i := slices.IndexFunc(all, func(c component) bool { return c.Name == d.Component })
		if i < 0 {
			all = append(all, component{Name: d.Component, Engine: d.Engine, Group: d.Kind.Group, Version: d.Kind.Version})
			i = len(all) - 1
		}
		all[i].Doors = append(all[i].Doors, d)
	}
	return all
}

func TestTheComponentsOfEnginesAreMadeFromTheTable(t *testing.T) {
	templates, err := template.New("").Funcs(template.FuncMap{
		"join":       func(all []string) string { return strings.Join(all, ", ") },
		"dotted":     func(path []string) string { return strings.Join(path, ".") },
		"parents":    parents,
		"lastParent": func(d door.Door) parent { all := parents(d); return all[len(all)-1] },
		"literal":    literal,
		"open":       openExpression,
		"openWords":  openWords,
	}).ParseGlob("testdata/*.yaml.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range components() {
		for _, file := range templates.Templates() {
			if file.Name() == "" {
				continue
			}
			var want bytes.Buffer
			if err := file.Execute(&want, c); err != nil {
				t.Fatal(err)
			}
			expect(t, filepath.Join("components", c.Name, strings.TrimSuffix(file.Name(), ".tmpl")), want.String())
		}
	}
}

// expect compares a file with what it should be, or writes it.
func expect(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	diff := cmp.Diff(want, string(got))
	if diff == "" {
		return
	}
	if !*update {
		t.Errorf("%s is not what the table says; go test ./manifests -update writes it anew (-want +got):\n%s", name, diff)
		return
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhatTheComponentsTakeForGranted checks what the templates say of all kinds.
func TestWhatTheComponentsTakeForGranted(t *testing.T) {
	example, err := os.ReadFile("../docs/example/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range components() {
		if !strings.Contains(string(example), "# - gridlatch/manifests/components/"+c.Name+" #") {
			t.Errorf("docs/example/kustomization.yaml does not offer the component %s", c.Name)
		}
		for _, d := range c.Doors {
			if d.Kind.Group != c.Group || d.Kind.Version != c.Version || d.Engine != c.Engine {
				t.Errorf("%s is not of the engine, group and version of its component %s", d.Kind, c.Name)
			}
			if len(d.Field) < 2 || d.Field[0] != "spec" {
				t.Errorf("the door of %s is not below spec, and gridlatch-confined refuses changes of all else", d.Kind)
			}
		}
	}
}
