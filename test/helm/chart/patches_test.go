package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// patchBlock finds the patches that the pages show, with the values of the chart that do the same.
var patchBlock = regexp.MustCompile("(?m)(?:^<!-- same with Helm: (.*) -->\n)?^```yaml\n(patches:\n(?:[^`].*\n)+)```\n")

// TestThePatchesOfThePagesDoWhatTheySay renders each patch with the components.
func TestThePatchesOfThePagesDoWhatTheySay(t *testing.T) {
	paths, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range patchBlock.FindAllStringSubmatch(string(page), -1) {
			found++
			t.Run(filepath.Base(path)+" "+block[1], func(t *testing.T) {
				t.Parallel()
				if block[1] == "" {
					everyPatchChanges(t, block[2])
				} else {
					sameWithHelm(t, block[2], strings.Split(block[1], ","))
				}
			})
		}
	}
	if found < 4 {
		t.Errorf("found %d patches in the pages", found)
	}
}

// everyPatchChanges fails if a patch finds no object: kustomize reports no error then.
func everyPatchChanges(t *testing.T, text string) {
	t.Helper()
	var kustomization struct {
		Patches []any `json:"patches"`
	}
	if err := yaml.Unmarshal([]byte(text), &kustomization); err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(components(t), func(name string) bool { return name == "cert-manager" }) // removes objects
	before := patched(t, "", "", names)
	for _, patch := range kustomization.Patches {
		one, err := yaml.Marshal(map[string]any{"patches": []any{patch}})
		if err != nil {
			t.Fatal(err)
		}
		after := patched(t, "", string(one), names)
		if cmp.Equal(before, after) {
			t.Errorf("this patch changes nothing:\n%s", one)
		}
		for id := range before {
			if lost := missing(flags(t, before, id), flags(t, after, id)); len(lost) > 0 {
				t.Errorf("this patch takes %v from %s:\n%s", lost, id, one)
			}
		}
	}
}

// flags returns the arguments of the program of a Deployment.
func flags(t *testing.T, objects map[string]Object, id string) []any {
	t.Helper()
	if !strings.HasPrefix(id, "Deployment ") {
		return nil
	}
	args, _ := podOf(t, objects, id)["containers"].([]any)[0].(map[string]any)["args"].([]any)
	return args
}

// missing returns the items that others do not have.
func missing(items, others []any) []any {
	return slices.DeleteFunc(slices.Clone(items), func(item any) bool { return slices.Contains(others, item) })
}

// sameWithHelm compares the patched manifests with the chart that has some values.
func sameWithHelm(t *testing.T, text string, values []string) {
	t.Helper()
	names := slices.DeleteFunc(components(t), func(name string) bool { return !slices.Contains(values, on(name)) })
	want := patched(t, "carbon", text, names)
	delete(want, "Namespace carbon")
	got := objectsOf(t, release{namespace: "carbon", set: append(values, "image.tag=dev", "defaultPolicy.create=false", "releaseAtUninstall.enabled=false")})
	for id, object := range got {
		got[id] = withoutHelm(object)
	}
	if diff := cmp.Diff(compact(want), compact(got)); diff != "" {
		t.Errorf("-kustomize +Helm:\n%s", diff)
	}
}

// patched renders the manifests as a kustomization of a user does, with more lines.
func patched(t *testing.T, namespace, lines string, components []string) map[string]Object {
	t.Helper()
	rendered, err := render(manifests, kustomization(namespace, components)+lines)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Parse(string(rendered))
	if err != nil {
		t.Fatal(err)
	}
	return byID(objects)
}
