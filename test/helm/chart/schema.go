package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

const policies = "CustomResourceDefinition carbonpolicies.gridlatch.dev"

// schema returns the schema of the values, in which the definitions of a policy and of a provider are those of
// CarbonPolicy. All else in the file is written by hand.
func schema(path string, definition Object) (string, error) {
	written, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var whole map[string]any
	if err := json.Unmarshal(written, &whole); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	spec, ok := below(definition, "spec", "versions", "0", "schema", "openAPIV3Schema", "properties", "spec")
	if !ok {
		return "", fmt.Errorf("%s has no schema", policies)
	}
	provider, _ := below(spec, "properties", "forecast", "properties", "provider")
	definitions, ok := whole["definitions"].(map[string]any)
	if !ok {
		return "", fmt.Errorf("%s has no definitions", path)
	}
	definitions["policySpec"], definitions["provider"] = strict(spec), strict(provider)
	text, err := json.MarshalIndent(whole, "", "  ")
	return string(text) + "\n", err
}

// below returns the schema that is found by keys; of a list, the first item counts.
func below(value map[string]any, keys ...string) (map[string]any, bool) {
	for _, key := range keys {
		next := value[key]
		if list, ok := next.([]any); ok && len(list) > 0 {
			next = list[0]
		}
		if key == "0" {
			continue
		}
		found, ok := next.(map[string]any)
		if !ok {
			return nil, false
		}
		value = found
	}
	return value, true
}

// strict returns a schema of an API as one for values: an unknown field is an error, and not dropped.
func strict(of any) any {
	switch of := of.(type) {
	case map[string]any:
		made := map[string]any{}
		for key, value := range of {
			if !strings.HasPrefix(key, "x-kubernetes-") && !slices.Contains([]string{"default", "description", "format"}, key) {
				made[key] = strict(value)
			}
		}
		if properties, ok := of["properties"].(map[string]any); ok {
			named := map[string]any{}
			for name, value := range properties { // a field may be called like a keyword
				named[name] = strict(value)
			}
			made["properties"], made["additionalProperties"] = named, false
		}
		return made
	case []any:
		made := make([]any, 0, len(of))
		for _, item := range of {
			made = append(made, strict(item))
		}
		return made
	}
	return of
}
