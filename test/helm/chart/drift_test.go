package chart

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// on returns what switches a component on, on Helm's command line.
func on(component string) string {
	if component == "cert-manager" {
		return "certificates.from=cert-manager"
	}
	condition := Switch(component)
	if engine, ok := strings.CutPrefix(condition, "index .Values.engines "); ok {
		return "engines." + strings.Trim(engine, `"`) + "=true"
	}
	return strings.TrimPrefix(condition, ".Values.") + "=true"
}

func components(t *testing.T) []string {
	t.Helper()
	names, err := Components(manifests)
	if err != nil || len(names) == 0 {
		t.Fatalf("components %v: %v", names, err)
	}
	return names
}

// combinations returns the components alone, all together, and none.
func combinations(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"base": nil, "all components": components(t)}
	for _, name := range components(t) {
		all[name] = []string{name}
	}
	return all
}

// TestTheChartIsWhatKustomizeInstalls compares every object of the chart with that of the manifests.
func TestTheChartIsWhatKustomizeInstalls(t *testing.T) {
	for name, names := range combinations(t) {
		namespaces := []string{"carbon"}
		if len(names) == 0 {
			namespaces = append(namespaces, placedIn) // TestAnyNamespaceWorks has all others
		}
		for _, namespace := range namespaces {
			t.Run(name+" in "+namespace, func(t *testing.T) {
				t.Parallel()
				r := release{namespace: namespace, set: []string{"image.tag=dev", "defaultPolicy.create=false", "releaseAtUninstall.enabled=false"}}
				for _, component := range names {
					r.set = append(r.set, on(component))
				}
				objects, err := Kustomize(manifests, namespace, names...)
				if err != nil {
					t.Fatal(err)
				}
				want, got := byID(objects), objectsOf(t, r)
				delete(want, "Namespace "+namespace)
				for id, object := range got {
					got[id] = withoutHelm(object)
				}
				if diff := cmp.Diff(compact(want), compact(got)); diff != "" {
					t.Errorf("-kustomize +Helm:\n%s", diff)
				}
			})
		}
	}
}

// withoutHelm returns the object without what only Helm writes on it.
func withoutHelm(object Object) Object {
	metadata := object["metadata"].(map[string]any)
	labels := metadata["labels"].(map[string]any)
	for _, key := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"} {
		delete(labels, key)
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, "helm.sh/resource-policy")
	}
	return object
}

// compact returns a value without what is empty.
func compact(value any) any {
	switch value := value.(type) {
	case map[string]Object:
		all := map[string]any{}
		for id, object := range value {
			all[id] = compact(map[string]any(object))
		}
		return all
	case map[string]any:
		kept := maps.Clone(value)
		for key, item := range value {
			if item == nil || cmp.Equal(item, []any{}) {
				delete(kept, key)
			} else {
				kept[key] = compact(item)
			}
		}
		return kept
	case []any:
		for i, item := range value {
			value[i] = compact(item)
		}
	}
	return value
}

// TestAnyNamespaceWorks renders the manifests for another namespace. Nothing but the namespace may differ.
func TestAnyNamespaceWorks(t *testing.T) {
	for name, names := range combinations(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, err := Kustomize(manifests, "", names...)
			if err != nil {
				t.Fatal(err)
			}
			there, err := Kustomize(manifests, "carbon", names...)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{}
			for id, object := range byID(here) {
				want[strings.ReplaceAll(id, placedIn, "carbon")] = moved(map[string]any(object))
			}
			if diff := cmp.Diff(any(want), compact(byID(there))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// moved returns a value with the namespace carbon in place of that of the manifests.
func moved(value any) any {
	switch value := value.(type) {
	case string:
		return strings.ReplaceAll(value, placedIn, "carbon")
	case map[string]any:
		all := map[string]any{}
		for key, item := range value {
			all[key] = moved(item)
		}
		return compact(all)
	case []any:
		all := []any{}
		for _, item := range value {
			all = append(all, moved(item))
		}
		return all
	}
	return value
}

// TestEveryObjectHasTheLabelsOfTheConvention also looks at pods.
func TestEveryObjectHasTheLabelsOfTheConvention(t *testing.T) {
	objects, err := Kustomize(manifests, "", components(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		checked := map[string]map[string]any{object.ID(): object}
		if object["kind"] == "Deployment" {
			checked[object.ID()+": pod"] = object["spec"].(map[string]any)["template"].(map[string]any)
		}
		for id, o := range checked {
			for key, want := range map[string]string{"name": "gridlatch", "part-of": "gridlatch", labelComponent: ""} {
				if got := Object(o).Label("app.kubernetes.io/" + strings.TrimPrefix(key, "app.kubernetes.io/")); !strings.HasPrefix(got, want) || got == "" {
					t.Errorf("%s: label %s is %q", id, key, got)
				}
			}
		}
	}
	for id, object := range objectsOf(t, release{namespace: "carbon"}) {
		if object.Label("app.kubernetes.io/managed-by") == "" || object.Label(labelComponent) == "" {
			t.Errorf("%s of the chart lacks labels", id)
		}
	}
}

// TestReplacementsNameTheirTargets fails for a pattern in place of a name. The kustomize of kubectl before 1.36 finds
// nothing by a pattern, reports no error, and leaves the namespace of the manifests in place.
func TestReplacementsNameTheirTargets(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(manifests, "namespace", "names.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var transformer struct {
		Replacements []types.Replacement `json:"replacements"`
	}
	if err := yaml.Unmarshal(text, &transformer); err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`^[A-Za-z-]+$`)
	targets := 0
	for _, replacement := range transformer.Replacements {
		for _, target := range replacement.Targets {
			targets++
			if !word.MatchString(target.Select.Kind) || !word.MatchString(target.Select.Name) {
				t.Errorf("kind %q, name %q: want one kind and one name", target.Select.Kind, target.Select.Name)
			}
		}
	}
	if targets == 0 {
		t.Error("there are no replacements")
	}
}
