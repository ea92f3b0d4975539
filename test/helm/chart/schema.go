package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

const policies = "CustomResourceDefinition carbonpolicies.gridlatch.dev"

// valuesSchema returns the schema of the values, in which the definitions of a policy and of a provider are those of
// CarbonPolicy. All else in the file is written by hand.
func valuesSchema(path string, definition Object) (string, error) {
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

// strict returns a schema of an API as one for values: an unknown field is an error, and not dropped. Of the rules in
// CEL, the schema has those that patterns and required fields can say. The API server checks all of them.
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
		if checks := checks(of["x-kubernetes-validations"]); len(checks) > 0 {
			made["allOf"] = checks
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

var (
	matches = regexp.MustCompile(`self\.matches\('((?:[^'\\]|\\.)*)'\)`)
	needs   = regexp.MustCompile(`^has\(self\.(\w+)\) \|\| !\(self\.(\w+) in \[([^\]]*)\]\)$`)
)

// checks returns schemas for the rules of an API: those that only compare a text with patterns, and those that require
// a field if another field has one of some values.
func checks(rules any) []any {
	var all []any
	list, _ := rules.([]any)
	for _, item := range list {
		validation, _ := item.(map[string]any)
		rule, _ := validation["rule"].(string)
		rule = strings.Join(strings.Fields(rule), " ")
		if found := needs.FindStringSubmatch(rule); found != nil {
			values := strings.Split(strings.ReplaceAll(found[3], "'", ""), ", ")
			all = append(all, map[string]any{
				"if":   map[string]any{"properties": map[string]any{found[2]: map[string]any{"enum": values}}, "required": []any{found[2]}},
				"then": map[string]any{"required": []any{found[1]}},
			})
		}
		var patterns []any
		var whole []string
		for _, found := range matches.FindAllStringSubmatch(rule, -1) {
			whole = append(whole, found[0])
			patterns = append(patterns, map[string]any{"pattern": strings.ReplaceAll(found[1], `\\`, `\`)})
		}
		if strings.Join(whole, " && ") == rule {
			all = append(all, patterns...)
		}
	}
	return all
}
