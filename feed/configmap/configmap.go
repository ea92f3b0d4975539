// Package configmap knows the ConfigMaps that forecasts and histories are in. It watches and writes
// nothing, so that a command can read them without linking the manager: see package feed for that.
package configmap

import (
	"context"
	"encoding/hex"
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

const (
	// HistoryOf is the label of a ConfigMap with a history: the digest of the source of the forecast.
	HistoryOf = v1alpha1.Prefix + "history-of"
	// Source is the annotation with the source itself.
	Source = v1alpha1.Prefix + "source"
	// HistoryKey is the key of the history.
	HistoryKey = "history"
)

// Document returns the forecast in a ConfigMap. Now bounds when the forecast was issued.
func Document(c *corev1.ConfigMap, key string, now time.Time) (forecast.Document, error) {
	document, err := forecast.FromConfigMap(c.BinaryData, c.Data, key, LastWritten(c, now))
	if err != nil {
		return document, fmt.Errorf("ConfigMap %s/%s: %w", c.Namespace, c.Name, err)
	}
	return document, nil
}

// LastWritten returns when an object was created or last updated, as far as its managed fields say, but
// no later than now.
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

// History returns the ConfigMap of the history of a location, as the location's model has saved it. The
// ConfigMap has no namespace yet.
func History(source forecast.Source, location string, history []byte) *corev1.ConfigMap {
	labels := OfSource(source)
	labels["app.kubernetes.io/name"] = "gridlatch"
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:        HistoryName(source, location),
			Labels:      labels,
			Annotations: map[string]string{Source: source.String(), v1alpha1.LocationAnnotation: location},
		},
		BinaryData: map[string][]byte{HistoryKey: history},
	}
}

// HistoryName returns the name of the ConfigMap of the history of a location.
func HistoryName(source forecast.Source, location string) string {
	return "gridlatch-history-" + digest(source.String()+"/"+location)
}

// OfSource returns the labels that select the histories of a source.
func OfSource(source forecast.Source) client.MatchingLabels {
	return client.MatchingLabels{HistoryOf: digest(source.String())}
}

// Read gives the models of a source the histories that the controller in a namespace has saved, and
// returns how many locations these are of.
func Read(ctx context.Context, reader client.Reader, namespace string, store *forecast.Store, source forecast.Source, now time.Time) (int, error) {
	var found corev1.ConfigMapList
	if err := reader.List(ctx, &found, client.InNamespace(namespace), OfSource(source)); err != nil {
		return 0, fmt.Errorf("read the histories: %w", err)
	}
	return Restore(store, source, found.Items, now)
}

// Restore gives the models of a source their histories, and returns how many there are. The error names
// each history that cannot be used.
func Restore(store *forecast.Store, source forecast.Source, found []corev1.ConfigMap, now time.Time) (int, error) {
	restored, problems := 0, []error(nil)
	for _, c := range found {
		if c.Annotations[Source] != source.String() {
			continue // another source has the same digest
		}
		if err := store.Restore(source, c.Annotations[v1alpha1.LocationAnnotation], c.BinaryData[HistoryKey], now); err != nil {
			problems = append(problems, fmt.Errorf("ConfigMap %s: %w", c.Name, err))
			continue
		}
		restored++
	}
	return restored, errors.Join(problems...)
}

// digest makes a name, or the value of a label, of any string.
func digest(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it never fails
	return hex.EncodeToString(h.Sum(nil))
}
