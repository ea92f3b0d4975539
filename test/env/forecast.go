package env

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Element is one of the exporter's array: gCO2eq/kWh for a number of minutes.
type Element struct {
	Location  string    `json:"location,omitempty"`
	Timestamp time.Time `json:"timestamp"`
	Duration  float64   `json:"duration"`
	Value     float64   `json:"value"`
}

// Elements makes the elements of one location: one for each value, slot after slot from start.
func Elements(location string, start time.Time, slot time.Duration, values ...float64) []Element {
	elements := make([]Element, len(values))
	for i, value := range values {
		elements[i] = Element{location, start.Add(time.Duration(i) * slot).UTC(), slot.Minutes(), value}
	}
	return elements
}

// Forecast writes the well-known ConfigMap as the exporter does: it deletes what is there and creates it anew,
// immutable.
func (c *Cluster) Forecast(ctx context.Context, elements ...Element) error {
	data, err := json.Marshal(elements)
	if err != nil {
		return fmt.Errorf("write forecast: %w", err)
	}
	return c.ForecastData(ctx, data)
}

// ForecastData is Forecast with whatever is given in place of the array.
func (c *Cluster) ForecastData(ctx context.Context, data []byte) error {
	if err := c.DeleteForecast(ctx); err != nil {
		return err
	}
	immutable := true
	configMap := &corev1.ConfigMap{
		ObjectMeta: forecastName(), Immutable: &immutable, BinaryData: map[string][]byte{"data": data},
	}
	if err := c.Client.Create(ctx, configMap); err != nil {
		return fmt.Errorf("write forecast: %w", err)
	}
	return nil
}

// DeleteForecast deletes the ConfigMap if it is there.
func (c *Cluster) DeleteForecast(ctx context.Context) error {
	err := c.Client.Delete(ctx, &corev1.ConfigMap{ObjectMeta: forecastName()})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete forecast: %w", err)
	}
	return nil
}

func forecastName() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "kube-system", Name: "carbon-intensity"}
}
