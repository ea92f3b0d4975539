package docs_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// room returns the room of a package: the package by itself, but a command with all packages below
// it, and the versions of the API together.
func room(importPath string) string {
	path := strings.TrimPrefix(importPath, module+"/")
	parts := strings.Split(path, "/")
	switch {
	case parts[0] == "api":
		return "api"
	case parts[0] == "cmd" && len(parts) > 1:
		return parts[0] + "/" + parts[1]
	default:
		return path
	}
}

// arrows returns the rooms that each room imports.
func (s *source) arrows() map[string]set {
	arrows := map[string]set{}
	for path, p := range s.packages {
		from := room(path)
		if arrows[from] == nil {
			arrows[from] = set{}
		}
		for _, imported := range p.Imports {
			if to := room(imported); strings.HasPrefix(imported, module+"/") && to != from {
				arrows[from][to] = true
			}
		}
	}
	return arrows
}

// reaches reports whether a way leads from one room to another.
func reaches(arrows map[string]set, from, to string) bool {
	for next := range arrows[from] {
		if next == to || reaches(arrows, next, to) {
			return true
		}
	}
	return false
}

// picture draws the rooms for Mermaid. An arrow is left out where a longer way leads to the same
// room.
func picture(arrows map[string]set) string {
	rooms := set{}
	for from := range arrows {
		rooms[from] = true
	}
	id := strings.NewReplacer("/", "_", "-", "_")
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for _, from := range rooms.sorted() {
		fmt.Fprintf(&b, "  %s[%q]\n", id.Replace(from), from)
	}
	for _, from := range rooms.sorted() {
		for _, to := range arrows[from].sorted() {
			longer := slices.ContainsFunc(arrows[from].sorted(), func(over string) bool { return reaches(arrows, over, to) })
			if !longer {
				fmt.Fprintf(&b, "  %s --> %s\n", id.Replace(from), id.Replace(to))
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func TestThePictureShowsTheImports(t *testing.T) {
	const name = "docs/architecture.md"
	expect(t, name, generated(t, name, "rooms", picture(read(t).arrows())))
}

func TestThePageSaysWhatEachPackageSaysOfItself(t *testing.T) {
	const name = "docs/architecture.md"
	var b strings.Builder
	b.WriteString("| package | what it does |\n|---|---|\n")
	code := read(t)
	for _, importPath := range slices.Sorted(maps.Keys(code.packages)) {
		path := strings.TrimPrefix(importPath, module+"/")
		_, sentence, _ := strings.Cut(code.packages[importPath].Doc, " "+filepath.Base(path)+" ")
		fmt.Fprintf(&b, "| [`%s`](../%s) | %s |\n", path, path, sentence)
	}
	expect(t, name, generated(t, name, "packages", b.String()))
}

func TestAnArrowIsLeftOutOnlyWhereALongerWayLeadsThere(t *testing.T) {
	arrows := map[string]set{"a": {"b": true, "c": true}, "b": {"c": true}, "c": {}}
	want := "```mermaid\nflowchart TD\n  a[\"a\"]\n  b[\"b\"]\n  c[\"c\"]\n  a --> b\n  b --> c\n```\n"
	if diff := cmp.Diff(want, picture(arrows)); diff != "" {
		t.Error(diff)
	}
}
