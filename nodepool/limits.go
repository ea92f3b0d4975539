package nodepool

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gridlatch/gridlatch/override"
)

const (
	// maxResources bounds how many resources a bucket names.
	maxResources = 20
	// maxQuantityBytes bounds the text of a quantity, and maxExponentBytes its exponent with its
	// letter. A larger exponent takes gigabytes to compare.
	maxQuantityBytes = 40
	maxExponentBytes = 4
)

// amounts are the most that a pool may have of some resources, as their texts by resource.
type amounts map[string]string

// parseAmounts reads amounts such as cpu:200;memory:1Ti.
func parseAmounts(text string) (amounts, error) {
	items := strings.Split(text, ";")
	if len(items) > maxResources {
		return nil, fmt.Errorf("%d resources: want at most %d", len(items), maxResources)
	}
	found := amounts{}
	for _, item := range items {
		name, amount, _ := strings.Cut(item, ":")
		name, amount = strings.TrimSpace(name), strings.TrimSpace(amount)
		q, ok := parseQuantity(amount)
		switch {
		case len(validation.IsQualifiedName(name)) > 0 || !ok || q.Sign() < 0:
			return nil, errors.New("want resources and quantities, such as cpu:200;memory:1Ti")
		case found[name] != "":
			return nil, fmt.Errorf("want the resource %.60s once", name)
		}
		found[name] = amount
	}
	return found, nil
}

// parseLimits reads the annotation gridlatch.dev/limits.
func parseLimits(text string) (scale[amounts], error) {
	s, err := parseScale(text, parseAmounts)
	if err != nil {
		return s, err
	}
	first := resources(s)
	for _, a := range s.values {
		if !slices.Equal(slices.Sorted(maps.Keys(a)), first) {
			return scale[amounts]{}, fmt.Errorf("want the same resources in every bucket, not only %s", strings.Join(first, " and "))
		}
	}
	return s, nil
}

// resources returns the resources that a scale limits.
func resources(s scale[amounts]) []string {
	if s.isEmpty() {
		return nil
	}
	return slices.Sorted(maps.Keys(s.values[0]))
}

// parseQuantity reads a quantity of Kubernetes. It refuses numbers that nobody needs, and that take
// long to compare.
func parseQuantity(text string) (resource.Quantity, bool) {
	if i := strings.IndexAny(text, "eE"); len(text) > maxQuantityBytes || i >= 0 && len(text)-i > maxExponentBytes {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

// quantityOf returns the quantity that a field has, and false if the field has none.
func quantityOf(v override.Value) (resource.Quantity, bool) {
	text := string(v)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	return parseQuantity(text)
}

// isLimit reports whether a field has a limit that a note can remember, or none.
func isLimit(v override.Value) bool {
	_, ok := quantityOf(v)
	return ok || v == override.Unset
}

// lower returns the lower one of an owner's limit and of what a bucket allows. The owner's limit is
// returned as the owner wrote it.
func lower(own override.Value, allowed string) override.Value {
	most, ok := quantityOf(own)
	if allowed, _ := parseQuantity(allowed); ok && most.Cmp(allowed) <= 0 {
		return own
	}
	return override.ValueOf(allowed)
}

// readLimits reads a note with limits by resource. A limit that cannot be meant is left out.
func readLimits(note string) map[string]override.Value {
	var raw map[string]json.RawMessage
	if json.Unmarshal([]byte(note), &raw) != nil {
		return nil
	}
	found := map[string]override.Value{}
	for name, text := range raw {
		value := override.ValueOf(text)
		if len(validation.IsQualifiedName(name)) == 0 && isLimit(value) && len(found) < maxResources {
			found[name] = value
		}
	}
	return found
}

// printLimits prints a note with limits by resource.
func printLimits(limits map[string]override.Value) string {
	raw := map[string]json.RawMessage{}
	for name, value := range limits {
		raw[name] = json.RawMessage("null")
		if value != override.Unset {
			raw[name] = json.RawMessage(value)
		}
	}
	text, _ := json.Marshal(raw) // of JSON: no error is possible
	return string(text)
}
