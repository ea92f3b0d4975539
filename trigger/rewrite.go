package trigger

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a trigger of KEDA's external scaler has.
const (
	typeKey           = "type"
	metadataKey       = "metadata"
	authenticationKey = "authenticationRef"
	addressKey        = "scalerAddress"
	enableTLSKey      = "enableTLS"

	externalPush = "external-push"
	external     = "external"

	scaledJob = "ScaledJob"
)

// AuthenticationKind is the kind of the object by which KEDA trusts the scaler.
const AuthenticationKind = "ClusterTriggerAuthentication"

// Form is what the triggers that Gridlatch writes name.
type Form struct {
	// Address is the host and the port of the scaler. If it is empty, there is no scaler: nothing is
	// replaced, and what was replaced comes back.
	Address string
	// Authentication is the name of a ClusterTriggerAuthentication. If it is empty, KEDA does not use
	// TLS.
	Authentication string

	isPolled bool // KEDA asks, and is not told
}

// For returns the form of the triggers of a kind of object. KEDA 2.21 starts a new ScaledJob twice within
// milliseconds. If both starts find the same scaler of the type external-push, one channel is closed
// twice, and KEDA's operator panics. So the triggers of ScaledJobs have the type external, and KEDA asks
// at the pollingInterval of the object.
func (f Form) For(kind string) Form {
	f.isPolled = kind == scaledJob
	return f
}

// Scaling is what an object of KEDA scales by.
type Scaling struct {
	// Triggers is the list spec.triggers.
	Triggers []any
	// HasFormula says that a formula, and not the highest number, decides between the triggers. A
	// trigger then asks for replicas as if it stood alone.
	HasFormula bool
}

// ScalingOf returns what an object scales by.
func ScalingOf(object map[string]any) Scaling {
	spec, _ := object["spec"].(map[string]any)
	triggers, _ := spec["triggers"].([]any)
	advanced, _ := spec["advanced"].(map[string]any)
	modifiers, _ := advanced["scalingModifiers"].(map[string]any)
	formula, _ := modifiers["formula"].(string)
	return Scaling{Triggers: triggers, HasFormula: formula != ""}
}

// effect returns the effect of a carbon trigger, empty if it asks for replicas.
func (s Scaling) effect() string {
	if len(s.Triggers) <= 1 || s.HasFormula {
		return ""
	}
	starting := 0 // the triggers by which KEDA starts the first replica
	for _, o := range s.Triggers {
		t, _ := o.(map[string]any)
		if kind, _ := t[typeKey].(string); kind != "cpu" && kind != "memory" {
			starting++
		}
	}
	if starting > 1 {
		return EffectCeiling
	}
	return EffectAwake
}

// Rewrite returns the triggers of an object with each one of the type carbon-intensity replaced. It
// also corrects the effect of a trigger that was replaced before, if others have come or gone. It
// does not change the triggers that it is given. If there are errors, nothing is replaced: they have
// the path of each value that cannot be used, below the path of spec.triggers.
func (f Form) Rewrite(s Scaling, path *field.Path) (rewritten []any, isChanged bool, errs field.ErrorList) {
	triggers := s.Triggers
	if f.Address == "" {
		rewritten, isChanged = Restore(triggers)
		return rewritten, isChanged, nil
	}
	found, errs := f.find(triggers, path)
	if found == nil || len(errs) > 0 {
		return triggers, false, errs
	}
	isReplaced := found.metadata[WrittenAsKey] == Type
	if found.isVerbatim {
		errs = found.checkVerbatim()
	}
	if _, wishErrs := ParseWish(found.metadata, found.path); len(wishErrs) > 0 {
		errs = append(errs, wishErrs...)
	}
	if len(errs) > 0 || !found.isVerbatim && !isReplaced {
		return triggers, false, errs
	}
	replaced := f.replace(found, s.effect())
	if reflect.DeepEqual(replaced, triggers[found.index]) {
		return triggers, false, nil
	}
	rewritten = append([]any{}, triggers...)
	rewritten[found.index] = replaced
	return rewritten, true, nil
}

// Restore returns the triggers of an object as they were before [Form.Rewrite], and whether that is
// another list.
func Restore(triggers []any) (restored []any, isChanged bool) {
	restored = append([]any{}, triggers...)
	for i := range restored {
		t, metadata := read(restored[i])
		if !isExternal(t) || metadata[WrittenAsKey] != Type {
			continue
		}
		original := maps.Clone(t)
		delete(original, authenticationKey)
		original[typeKey] = Type
		for _, key := range []string{addressKey, enableTLSKey, EffectKey, WrittenAsKey} {
			delete(metadata, key)
		}
		original[metadataKey] = toAny(metadata)
		restored[i], isChanged = original, true
	}
	return restored, isChanged
}

// Find returns the wish of the carbon trigger of an object, be it as people write it, as Gridlatch
// rewrites it, or written as a trigger of KEDA's external scaler that names Gridlatch's. ok is false
// if there is no such trigger, or if it cannot be used: then there are errors.
func (f Form) Find(s Scaling, path *field.Path) (w Wish, ok bool, errs field.ErrorList) {
	if f.Address == "" {
		return Wish{}, false, nil
	}
	found, errs := f.find(s.Triggers, path)
	if found == nil || len(errs) > 0 {
		return Wish{}, false, errs
	}
	if found.isVerbatim {
		errs = found.checkVerbatim()
	}
	w, wishErrs := ParseWish(found.metadata, found.path)
	errs = append(append(errs, wishErrs...), found.checkAlone(s)...)
	if len(errs) > 0 {
		return Wish{}, false, errs
	}
	if found.isVerbatim {
		w.follow(s.effect())
	}
	return w, true, nil
}

// trigger is a carbon trigger of an object.
type trigger struct {
	index      int
	path       *field.Path
	whole      map[string]any
	metadata   map[string]string
	isVerbatim bool
}

// find returns the carbon trigger of an object, nil if there is none. Only the first one counts, and
// a second one is an error.
func (f Form) find(triggers []any, path *field.Path) (found *trigger, errs field.ErrorList) {
	for i := range triggers {
		t, metadata := read(triggers[i])
		kind, _ := t[typeKey].(string) // nil has no type
		isOurs := isExternal(t) && (metadata[WrittenAsKey] == Type || f.isAt(metadata[addressKey]))
		switch {
		case kind != Type && !isOurs:
		case len(errs) == maxErrors:
			return found, errs
		case found != nil:
			errs = append(errs, field.Forbidden(path.Index(i), "an object can have only one trigger of the type "+Type))
		default:
			found = &trigger{index: i, path: path.Index(i), whole: t, metadata: metadata, isVerbatim: kind == Type}
		}
	}
	if found != nil {
		errs = append(errs, found.checkTexts()...)
	}
	return found, errs
}

// isExternal reports whether KEDA asks a scaler outside about a trigger.
func isExternal(t map[string]any) bool {
	return t[typeKey] == externalPush || t[typeKey] == external
}

// isAt reports whether an address is that of the scaler.
func (f Form) isAt(address string) bool {
	return strings.TrimPrefix(address, "dns:///") == f.Address
}

// checkTexts returns an error for each value of the metadata that is no text. KEDA's definition refuses
// these values, too, but does not say how to write them.
func (t *trigger) checkTexts() (errs field.ErrorList) {
	all, _ := t.whole[metadataKey].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if _, isText := all[key].(string); isText {
			continue
		}
		at := t.path.Child(metadataKey)
		if slices.Contains(wishKeys(), key) {
			at = at.Child(key)
		} else {
			at = at.Key(fmt.Sprintf("%.80q", key)) // whatever is in it
		}
		if errs = append(errs, unquoted(at, all[key])); len(errs) == maxErrors {
			return errs
		}
	}
	return errs
}

// unquoted returns the error for a value that is no text.
func unquoted(path *field.Path, value any) *field.Error {
	switch value.(type) {
	case bool, int64, float64:
		text := fmt.Sprint(value)
		if written, err := json.Marshal(value); err == nil {
			text = string(written)
		}
		return field.Invalid(path, value, fmt.Sprintf("want it in quotes: %q", text))
	}
	return field.TypeInvalid(path, kindOf(value), "want a text in quotes")
}

// kindOf names the kind of a value that is no text, in the words of JSON.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case []any:
		return "array"
	}
	return "object"
}

// checkVerbatim returns errors for what a trigger as people write it must not have.
func (t *trigger) checkVerbatim() (errs field.ErrorList) {
	if t.whole[authenticationKey] != nil {
		errs = append(errs, field.Forbidden(t.path.Child(authenticationKey), "a trigger of the type "+Type+" takes none"))
	}
	for _, key := range append(connectionKeys(), EffectKey, WrittenAsKey) {
		if _, ok := t.metadata[key]; ok {
			errs = append(errs, field.Forbidden(t.path.Child(metadataKey, key), "Gridlatch writes it"))
		}
	}
	return errs
}

// checkAlone returns an error for a trigger that somebody has written as KEDA needs it, that asks for no
// replicas, and that no other trigger stands beside: the object would never have more than its minimum.
// The effect of a trigger that was replaced is corrected instead.
func (t *trigger) checkAlone(s Scaling) field.ErrorList {
	effect, ok := t.metadata[EffectKey]
	if !ok || len(s.Triggers) > 1 || t.isVerbatim || t.metadata[WrittenAsKey] == Type {
		return nil
	}
	return field.ErrorList{field.Invalid(t.path.Child(metadataKey, EffectKey), shown(effect), "want no effect, because no other trigger asks for replicas")}
}

// replace returns the trigger that takes the place of one.
func (f Form) replace(t *trigger, effect string) map[string]any {
	metadata := maps.Clone(t.metadata)
	metadata[WrittenAsKey], metadata[addressKey] = Type, f.Address
	delete(metadata, EffectKey)
	delete(metadata, enableTLSKey)
	if effect != "" {
		metadata[EffectKey] = effect
	}
	replaced := maps.Clone(t.whole)
	delete(replaced, authenticationKey)
	if f.Authentication != "" {
		metadata[enableTLSKey] = "true"
		replaced[authenticationKey] = map[string]any{"kind": AuthenticationKind, "name": f.Authentication}
	}
	replaced[typeKey], replaced[metadataKey] = externalPush, toAny(metadata)
	if f.isPolled {
		replaced[typeKey] = external
	}
	return replaced
}

// read returns a trigger, nil if it is none, and a copy of its metadata. A value of the metadata that
// is no text counts as absent: KEDA's definition refuses it.
func read(object any) (t map[string]any, metadata map[string]string) {
	t, _ = object.(map[string]any)
	all, _ := t[metadataKey].(map[string]any)
	metadata = make(map[string]string, len(all))
	for key, value := range all {
		if text, ok := value.(string); ok {
			metadata[key] = text
		}
	}
	return t, metadata
}

func toAny(metadata map[string]string) map[string]any {
	all := make(map[string]any, len(metadata))
	for key, text := range metadata {
		all[key] = text
	}
	return all
}
