package chart

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A node is a value of which parts may depend on values of the chart. It is one of a scalar, a map, a list, a choice
// and a text.
type node struct {
	form   form
	scalar any
	parts  []part // of a map, a list or a choice
	text   string // of a template; {{INDENT}} stands for the column in which it begins
}

type form int

const (
	isScalar form = iota
	isMap
	isList
	isChoice // between parts: the first whose condition holds
	isText
)

// A part is an entry of a map, an item of a list, or a case of a choice.
type part struct {
	key   string // of an entry; empty for a text that has entries of its own
	when  string // the condition, as an argument of a template's if; empty: always
	value node
}

// A variant is a value as it is under a condition.
type variant struct {
	when  string
	value any
}

// plain returns a value that depends on nothing.
func plain(value any) node {
	switch value := value.(type) {
	case map[string]any:
		n := node{form: isMap}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n.parts = append(n.parts, part{key: key, value: plain(value[key])})
		}
		return n
	case []any:
		n := node{form: isList}
		for _, item := range value {
			n.parts = append(n.parts, part{value: plain(item)})
		}
		return n
	}
	return node{scalar: value}
}

// merge returns one value for the value of the base and for its variants.
func merge(base any, variants []variant) node {
	variants = slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return reflect.DeepEqual(v.value, base) })
	if len(variants) == 0 {
		return plain(base)
	}
	if base, ok := base.(map[string]any); ok && all[map[string]any](variants) {
		return mergeMaps(base, variants)
	}
	if base, ok := base.([]any); ok && all[[]any](variants) && grow(base, variants) {
		return mergeLists(base, variants)
	}
	choice := node{form: isChoice}
	for _, v := range variants {
		choice.parts = append(choice.parts, part{when: v.when, value: plain(v.value)})
	}
	choice.parts = append(choice.parts, part{value: plain(base)})
	return choice
}

func all[T any](variants []variant) bool {
	return !slices.ContainsFunc(variants, func(v variant) bool { _, ok := v.value.(T); return !ok })
}

// grow reports whether no variant has fewer items than the base.
func grow(base []any, variants []variant) bool {
	return !slices.ContainsFunc(variants, func(v variant) bool { return len(v.value.([]any)) < len(base) })
}

func mergeMaps(base map[string]any, variants []variant) node {
	keys := map[string]bool{}
	for key := range base {
		keys[key] = true
	}
	for _, v := range variants {
		for key := range v.value.(map[string]any) {
			keys[key] = true
		}
	}
	n := node{form: isMap}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		var having, lacking []variant
		for _, v := range variants {
			if value, ok := v.value.(map[string]any)[key]; ok {
				having = append(having, variant{v.when, value})
			} else {
				lacking = append(lacking, v)
			}
		}
		if value, ok := base[key]; ok {
			n.parts = append(n.parts, part{key: key, when: no(conditions(lacking)...), value: merge(value, having)})
		} else {
			n.parts = append(n.parts, part{key: key, when: or(conditions(having)...), value: mergeAdded(having)})
		}
	}
	return n
}

// mergeAdded merges variants of what the base does not have.
func mergeAdded(variants []variant) node {
	switch {
	case len(variants) > 1 && all[[]any](variants):
		return merge([]any{}, variants)
	case len(variants) > 1 && all[map[string]any](variants):
		return merge(map[string]any{}, variants)
	}
	return merge(variants[len(variants)-1].value, variants[:len(variants)-1])
}

// mergeLists merges the items of the base with those at the same place, and adds those behind them.
func mergeLists(base []any, variants []variant) node {
	n := node{form: isList}
	for i, item := range base {
		var same []variant
		for _, v := range variants {
			same = append(same, variant{v.when, v.value.([]any)[i]})
		}
		n.parts = append(n.parts, part{value: merge(item, same)})
	}
	for _, v := range variants {
		for _, item := range v.value.([]any)[len(base):] {
			n.parts = append(n.parts, part{when: v.when, value: plain(item)})
		}
	}
	return n
}

func conditions(variants []variant) []string {
	found := make([]string, 0, len(variants))
	for _, v := range variants {
		found = append(found, v.when)
	}
	return found
}

// or returns the condition that one of the conditions holds. No conditions, and one that always holds, give an
// empty one.
func or(conditions ...string) string { return joined("or", conditions) }

// and returns the condition that all conditions hold, of which the empty ones always do.
func and(conditions ...string) string {
	return joined("and", slices.DeleteFunc(conditions, func(c string) bool { return c == "" }))
}

// no returns the condition that none of the conditions holds.
func no(conditions ...string) string {
	if len(conditions) == 0 {
		return ""
	}
	return "not " + operand(or(conditions...))
}

func joined(operator string, conditions []string) string {
	conditions = slices.Compact(slices.Sorted(slices.Values(conditions)))
	if len(conditions) == 0 || slices.Contains(conditions, "") {
		return ""
	}
	if len(conditions) == 1 {
		return conditions[0]
	}
	text := operator
	for _, c := range conditions {
		text += " " + operand(c)
	}
	return text
}

func operand(condition string) string {
	if strings.Contains(condition, " ") {
		return "(" + condition + ")"
	}
	return condition
}
