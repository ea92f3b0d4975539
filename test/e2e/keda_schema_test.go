package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestTheSchemaAdmitsWhatTheOriginalAdmitted compares the shipped definition
// with that of the operator that it replaces.
func TestTheSchemaAdmitsWhatTheOriginalAdmitted(t *testing.T) {
	original := schema(t, "testdata/carbonawarekedascalers.yaml")
	ours := schema(t, "../../manifests/components/keda/carbonaware.kubernetes.azure.com_carbonawarekedascalers.yaml")
	for _, problem := range narrower("", original, ours) {
		t.Error(problem)
	}
	ours["required"] = []any{"spec"} // a comparison that finds nothing is none
	if len(narrower("", original, ours)) == 0 {
		t.Error("a new required field is not found")
	}
}

// schema reads the OpenAPI schema of a CustomResourceDefinition's only version.
func schema(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		t.Fatal(err)
	}
	if len(definition.Spec.Versions) != 1 {
		t.Fatalf("%s has %d versions", path, len(definition.Spec.Versions))
	}
	return definition.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// narrower says where a schema refuses something that the other admits.
func narrower(path string, from, to map[string]any) (problems []string) {
	for key, value := range to {
		switch key {
		case "description", "format", "properties", "items":
		case "required":
			for _, name := range value.([]any) {
				if before, _ := from["required"].([]any); !slices.Contains(before, name) {
					problems = append(problems, fmt.Sprintf("%s: %v is required", path, name))
				}
			}
		default:
			if value == "atomic" { // what no list type means, too
				continue
			}
			if fmt.Sprint(from[key]) != fmt.Sprint(value) {
				problems = append(problems, fmt.Sprintf("%s: %s is %v, was %v", path, key, value, from[key]))
			}
		}
	}
	properties, _ := to["properties"].(map[string]any)
	before, _ := from["properties"].(map[string]any)
	for name, value := range before {
		if _, ok := properties[name]; !ok {
			problems = append(problems, fmt.Sprintf("%s.%s is gone", path, name))
			continue
		}
		problems = append(problems, narrower(path+"."+name, value.(map[string]any), properties[name].(map[string]any))...)
	}
	if items, ok := from["items"].(map[string]any); ok {
		problems = append(problems, narrower(path+"[]", items, to["items"].(map[string]any))...)
	}
	return problems
}
