package docs_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/test/env"
)

const enginesPage = "docs/engines.md"

// code returns texts as code for a cell of a table, and a dash for nothing.
func code(texts ...string) string {
	if len(texts) == 0 {
		return "–"
	}
	return "`" + strings.Join(texts, "`, `") + "`"
}

func TestTheEnginesPageHasEveryDoor(t *testing.T) {
	var b strings.Builder
	b.WriteString("| kind | engine, and component | held by | released by | managed by | time limit that runs | what the engine creates is never held | Kueue can admit it |\n|---|---|---|---|---|---|---|---|\n")
	for _, d := range door.All() {
		engine := fmt.Sprintf("%s, [%s](../manifests/components/%s)", d.Engine, d.Component, d.Component)
		if d.MinRelease != "" {
			engine += ", " + d.MinRelease + " or later"
		}
		released := "removing the field"
		if d.Open != nil {
			released = fmt.Sprintf("`%s: %v`", door.FormatPath(d.Field), d.Open)
		}
		fmt.Fprintf(&b, "| %s `%s` | %s | `%s: %v` | %s | %s | %s | %s | %s |\n", d.Kind.Kind, d.Kind.GroupVersion(), engine,
			door.FormatPath(d.Field), d.Closed, released, path(d.Manager), path(d.Limit), neverHeld(d), yes(d.KueueAdmits))
	}
	expect(t, enginesPage, generated(t, enginesPage, "doors", b.String()))
}

func path(of []string) string {
	if of == nil {
		return code()
	}
	return code(door.FormatPath(of))
}

// neverHeld says how Gridlatch never holds what an engine creates for the work.
func neverHeld(d door.Door) string {
	switch {
	case d.HasServingPods:
		return "by a door; Jobs not at all"
	case d.WritesChildren:
		return "by a door"
	default:
		return "–"
	}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "–"
}

func TestTheEnginesPageHasAnExampleOfEveryKind(t *testing.T) {
	shown := map[schema.GroupVersionKind]bool{}
	examples, err := env.DoorExamples()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range examples {
		shown[o.GroupVersionKind()] = true
		if o.GetAnnotations()["gridlatch.dev/delay-tolerant"] != "true" {
			t.Errorf("the %s of the page does not ask to wait", o.GetKind())
		}
		d := door.Of(o.GroupVersionKind().GroupKind())
		if d == nil {
			t.Errorf("the page has an example of %s, which has no door", o.GroupVersionKind())
			continue
		}
		if d.IsSet(o.Object) || d.Refusal != nil && d.Refusal(o.Object) != "" {
			t.Errorf("the %s of the page would not be held", o.GetKind())
		}
	}
	for _, d := range door.All() {
		if !shown[d.Kind] {
			t.Errorf("the page has no example of %s", d.Kind)
		}
	}
}
