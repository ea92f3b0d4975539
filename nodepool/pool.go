package nodepool

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// pool is what is kept of a NodePool.
type pool struct {
	override.Object // with our annotations
	wish
	// labels are the values that the labels of the pool's nodes can have, as far as they are known.
	labels map[string][]string
	// present are the resources that the pool limits, whoever has set the limit.
	present []string
	// isStatic says that the pool has a fixed number of nodes.
	isStatic bool
}

// wish is what the annotations of a pool ask for.
type wish struct {
	limits scale[amounts] // empty without the wish
	// weights are the owner's, empty without the wish. isAuto asks for a weight by rank.
	weights scale[int32]
	isAuto  bool
	power   float64 // the power factor
	price   priceWish
	// What in the annotations cannot be used.
	limitsMistake, weightsMistake, powerMistake error
}

// newPool returns what is kept of a NodePool.
func newPool(o *unstructured.Unstructured) *pool {
	_, isStatic, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
	annotations := o.GetAnnotations()
	w := readWish(o, isStatic)
	fields := []override.Field{limitsField, weightField}
	for _, name := range union(resources(w.limits), slices.Collect(maps.Keys(readLimits(annotations[v1alpha1.OriginalLimitsAnnotation])))) {
		fields = append(fields, limitField(name))
	}
	p := &pool{Object: override.Read(o, fields...), wish: w, labels: labelsOf(o), isStatic: isStatic}
	maps.DeleteFunc(p.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.Prefix) })
	limits, _, _ := unstructured.NestedMap(o.Object, "spec", "limits")
	p.present = slices.Sorted(maps.Keys(limits))
	for _, name := range resources(w.limits) {
		if own := p.Value(limitField(name)); !isLimit(own) && p.limitsMistake == nil {
			p.limitsMistake = fmt.Errorf("spec.limits[%s]: %.80s: want a quantity of at most %d characters, with a small exponent", name, own, maxQuantityBytes)
		}
	}
	return p
}

// readWish reads what the annotations of a pool ask for.
func readWish(o *unstructured.Unstructured, isStatic bool) wish {
	w, annotations := wish{}, o.GetAnnotations()
	powers := map[string]float64(nil)
	w.power, powers, w.powerMistake = powerOf(o)
	w.price = readPrice(o, powers)
	if text, ok := annotations[v1alpha1.LimitsAnnotation]; ok {
		w.limits, w.limitsMistake = parseLimits(text)
		if names := resources(w.limits); isStatic && w.limitsMistake == nil && !slices.Equal(names, []string{"nodes"}) {
			w.limits, w.limitsMistake = scale[amounts]{}, errors.New("a pool with replicas can limit its nodes only")
		}
		w.limitsMistake = about(v1alpha1.LimitsAnnotation, text, w.limitsMistake)
	}
	if text, ok := annotations[v1alpha1.WeightsAnnotation]; ok {
		switch {
		case isStatic:
			w.weightsMistake = errors.New("a pool with replicas has no weight")
		case text == v1alpha1.WeightsAuto:
			w.isAuto = true
		default:
			w.weights, w.weightsMistake = parseScale(text, parseWeight)
		}
		w.weightsMistake = about(v1alpha1.WeightsAnnotation, text, w.weightsMistake)
	}
	return w
}

// about says which annotation a mistake is in.
func about(key, text string, mistake error) error {
	if mistake == nil {
		return nil
	}
	return fmt.Errorf("%s: %.80q: %w", key, text, mistake)
}

func parseWeight(text string) (int32, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n < leastWeight || n > mostWeight {
		return 0, fmt.Errorf("want auto, or a weight from %d to %d", leastWeight, mostWeight)
	}
	return int32(n), nil
}

// powerOf returns the power factor of a pool's nodes. The pool's own annotation counts before the
// annotation and the label of its nodes: to change these, Karpenter would replace all nodes. The pool's own
// annotation may have factors by architecture. The lowest one that the pool can have counts then.
func powerOf(o *unstructured.Unstructured) (least float64, powers map[string]float64, err error) {
	text := o.GetAnnotations()[v1alpha1.PowerFactorKey]
	if strings.Contains(text, "=") {
		powers, err := parsePowers(text)
		if err != nil {
			return 1, nil, fmt.Errorf("%s: %w", v1alpha1.PowerFactorKey, err)
		}
		return leastPower(powers, labelsOf(o)[corev1.LabelArchStable]), powers, nil
	}
	for _, kind := range []string{"annotations", "labels"} {
		if text == "" {
			text, _, _ = unstructured.NestedString(o.Object, "spec", "template", "metadata", kind, v1alpha1.PowerFactorKey)
		}
	}
	if text == "" {
		return 1, nil, nil
	}
	least, err = v1alpha1.ParsePowerFactor(text)
	if err != nil {
		return 1, nil, fmt.Errorf("%s: %w", v1alpha1.PowerFactorKey, err)
	}
	return least, nil, nil
}

// labelsOf returns the values that the labels of a pool's nodes can have, as far as the pool says.
func labelsOf(o *unstructured.Unstructured) map[string][]string {
	labels := map[string][]string{}
	requirements, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "requirements")
	for _, r := range requirements {
		requirement, _ := r.(map[string]any)
		key, _, _ := unstructured.NestedString(requirement, "key")
		values, _, err := unstructured.NestedStringSlice(requirement, "values")
		if operator, _, _ := unstructured.NestedString(requirement, "operator"); operator != "In" || err != nil {
			continue
		}
		if known, ok := labels[key]; ok {
			values = slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(known, v) })
		}
		labels[key] = values
	}
	own, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
	for key, value := range own {
		labels[key] = []string{value}
	}
	return labels
}

// asks reports whether the owner lends anything of the pool.
func (p *pool) asks() bool {
	return p.has(v1alpha1.LimitsAnnotation) || p.has(v1alpha1.WeightsAnnotation)
}

func (p *pool) has(key string) bool {
	_, ok := p.Annotations[key]
	return ok
}

// policy returns the name of the policy that the pool asks for.
func (p *pool) policy() string {
	if name := p.Annotations[v1alpha1.PolicyAnnotation]; name != "" {
		return override.Shorten(name, maxNameBytes) // no policy has a longer name
	}
	return v1alpha1.DefaultPolicy
}

// by names what the limits and the weight come from.
func (p *pool) by() string { return "CarbonPolicy/" + p.policy() }

// isOwn reports whether what is in force comes from the policy that the pool asks for now.
func (p *pool) isOwn() bool { return p.Annotations[v1alpha1.NodePoolByAnnotation] == p.by() }

// time returns the time that an annotation has, zero if it has none.
func (p *pool) time(key string) time.Time {
	at, _ := time.Parse(time.RFC3339, p.Annotations[key])
	return at
}

// offUntil returns until when the pool is to keep what is its own, the zero time if that is over.
func (p *pool) offUntil(now time.Time) time.Time {
	if until := p.time(v1alpha1.NodePoolReleasedAnnotation); now.Before(until) {
		return until
	}
	return time.Time{}
}

// isReleaseOver reports whether the pool says until when it was to keep what is its own, and this is over.
func (p *pool) isReleaseOver(now time.Time) bool {
	return p.has(v1alpha1.NodePoolReleasedAnnotation) && p.offUntil(now).IsZero()
}

// hasNotes reports whether any note of ours is on the pool.
func (p *pool) hasNotes() bool {
	return slices.ContainsFunc(noteKeys(), p.has)
}

// union returns all of some names once, sorted.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
