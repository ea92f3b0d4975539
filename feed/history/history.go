// Package history keeps what was learned of a location in a ConfigMap: one ConfigMap for each
// location of a source. The package links no controller manager, so that a command can use it.
package history

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// DataKey is the key of the history in its ConfigMap.
const DataKey = "history"

// Restore reads the histories of a source that the controller in a namespace has saved, gives them
// to the store, and returns how many locations were restored.
func Restore(ctx context.Context, reader client.Reader, namespace string, store *forecast.Store, source forecast.Source, now time.Time) (int, error) {
	var found corev1.ConfigMapList
	if err := reader.List(ctx, &found, client.InNamespace(namespace), client.MatchingLabels{SourceLabel: Digest(source.String())}); err != nil {
		return 0, fmt.Errorf("read the histories: %w", err)
	}
	return RestoreFrom(store, source, found.Items, now)
}

// RestoreFrom gives the histories of a source to the store, and returns how many locations were
// restored. Histories of other sources are left out.
func RestoreFrom(store *forecast.Store, source forecast.Source, found []corev1.ConfigMap, now time.Time) (int, error) {
	restored, problems := 0, []error(nil)
	for _, c := range found {
		if c.Annotations[SourceAnnotation] != source.String() {
			continue // of the same digest
		}
		if err := restore(store, source, &c, now); err != nil {
			problems = append(problems, fmt.Errorf("ConfigMap %s: %w", c.Name, err))
			continue
		}
		restored++
	}
	return restored, errors.Join(problems...)
}

// restore gives one history to the store.
func restore(store *forecast.Store, source forecast.Source, c *corev1.ConfigMap, now time.Time) error {
	origin, err := readOrigin(c.Annotations[OriginAnnotation])
	if err != nil {
		return err
	}
	return store.Restore(source, c.Annotations[v1alpha1.LocationAnnotation], origin, c.BinaryData[DataKey], now)
}

// ConfigMap returns the ConfigMap with the history of a location, as the Save of its model has
// encoded the history. The namespace is empty.
func ConfigMap(source forecast.Source, location string, origin forecast.Origin, encoded []byte) *corev1.ConfigMap {
	c := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:        ConfigMapName(source, location),
			Labels:      map[string]string{"app.kubernetes.io/name": "gridlatch", SourceLabel: Digest(source.String())},
			Annotations: map[string]string{SourceAnnotation: source.String(), v1alpha1.LocationAnnotation: location},
		},
		BinaryData: map[string][]byte{DataKey: encoded},
	}
	if text := writeOrigin(origin); text != "" {
		c.Annotations[OriginAnnotation] = text
	}
	return c
}

// writeOrigin writes the annotation [OriginAnnotation]; "" if nobody states the origin.
func writeOrigin(origin forecast.Origin) string {
	if origin == (forecast.Origin{}) {
		return ""
	}
	text, _ := json.Marshal(origin) // it has strings only, which never fail
	return string(text)
}

// readOrigin reads what writeOrigin has written.
func readOrigin(text string) (origin forecast.Origin, err error) {
	if text == "" {
		return origin, nil
	}
	if err := json.Unmarshal([]byte(text), &origin); err != nil {
		return origin, fmt.Errorf("annotation %s: %w", OriginAnnotation, err)
	}
	return origin, nil
}

// IsWritten reports whether a ConfigMap has the wanted history already.
func IsWritten(existing, wanted *corev1.ConfigMap) bool {
	return existing.Annotations[SourceAnnotation] == wanted.Annotations[SourceAnnotation] &&
		existing.Annotations[OriginAnnotation] == wanted.Annotations[OriginAnnotation] &&
		bytes.Equal(existing.BinaryData[DataKey], wanted.BinaryData[DataKey])
}

// ConfigMapName returns the name of the ConfigMap with the history of a location.
func ConfigMapName(source forecast.Source, location string) string {
	return "gridlatch-history-" + Digest(source.String()+"/"+location)
}

// Digest makes a name or a label's value of any string.
func Digest(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it never fails
	return hex.EncodeToString(h.Sum(nil))
}

// The label and the annotations of a ConfigMap with a history.
const (
	// SourceLabel is the label with the digest of the forecast's source.
	SourceLabel = v1alpha1.Prefix + "history-of"
	// SourceAnnotation is the annotation with the forecast's source.
	SourceAnnotation = v1alpha1.Prefix + "source"
	// OriginAnnotation is the annotation with the forecast's origin: the provider, the zone and the
	// signal, in JSON. It is absent if nobody states the origin.
	OriginAnnotation = v1alpha1.Prefix + "origin"
)

// LastWritten returns when an object was created or last updated, by its managed fields, and never
// a time after now.
func LastWritten(o metav1.Object, now time.Time) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	if last.After(now) {
		return now
	}
	return last
}
