package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// live plans by the policy and the forecast of the cluster, through the code that the cluster itself plans by.
func (f *planFlags) live(ctx context.Context, e env, set *pflag.FlagSet, asked ask) (answer, error) {
	c, err := e.connect(f.cluster)
	if err != nil {
		return answer{}, fmt.Errorf("there is no FORECAST file: %w", err)
	}
	a := answer{ask: asked}
	reader := &edited{Reader: c, edit: f.edit(set), warn: func(text string) { a.warnings = append(a.warnings, text) }}
	policy, err := gating.Policies{Reader: reader, Clock: at(asked.now), Nodes: &gating.Nodes{Reader: c}}.Get(ctx, f.policy)
	if err != nil {
		return answer{}, refused(err)
	}
	a.source = "ConfigMap " + policy.Source.String()
	a.warnings = append(a.warnings, policy.Problems...)
	book, _, err := c.readBook(ctx, policy.Source, asked.now, reader.warn)
	if err != nil {
		return answer{}, err
	}
	if problem := book.Problem(); problem != "" {
		a.warnings = append(a.warnings, a.source+": "+problem)
	}
	task := policy.Task(gating.Ask{
		Deadline: asked.deadline, Duration: asked.duration, Threshold: asked.threshold, Location: asked.location,
	}, asked.now)
	a.decision = policy.Decide(book, asked.location, asked.now, task)
	a.forecast, _ = book.Forecast(a.decision.Location)
	a.elsewhere = elsewhere(policy, book, asked.now, task, a.decision.Location)
	if expected, _ := policy.Predict(book, a.decision.Location, asked.now); !expected.Series.Empty() {
		a.expected = expected.Series
	}
	return a, nil
}

// edit makes of a policy what the flags say.
func (f *planFlags) edit(set *pflag.FlagSet) func(*v1alpha1.CarbonPolicySpec) {
	percent := func(value float64) v1alpha1.Percentage {
		return v1alpha1.Percentage(strconv.FormatFloat(value, 'f', -1, 64))
	}
	return func(spec *v1alpha1.CarbonPolicySpec) {
		if set.Changed("wait-price") {
			spec.WaitPricePercentPerHour = percent(f.waitPrice)
		}
		if set.Changed("min-gain") {
			spec.MinGainPercent = percent(f.minGain)
		}
		if set.Changed("key") {
			spec.Forecast.ConfigMap.Key = f.key
		}
	}
}

// edited reads policies from the cluster, and edits them. Where the cluster knows of no policies, there is the built-in
// one.
type edited struct {
	client.Reader
	edit func(*v1alpha1.CarbonPolicySpec)
	warn func(string)
}

// Get reads one object.
func (r *edited) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	policy, ok := object.(*v1alpha1.CarbonPolicy)
	err := r.Reader.Get(ctx, key, object, options...)
	builtIn := key.Name == v1alpha1.DefaultPolicy && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err))
	if ok && builtIn {
		r.warn("the cluster has no CarbonPolicy " + key.Name + ": planned by the built-in one")
		v1alpha1.Default().DeepCopyInto(policy)
		err = nil
	}
	if ok && err == nil {
		r.edit(&policy.Spec)
	}
	return err
}

// readBook reads what the controller has learned of a source, which tells what can be believed, and how many locations
// that is of; and then the forecast.
func (c *cluster) readBook(ctx context.Context, source forecast.Source, now time.Time, warn func(string)) (*forecast.Snapshot, int, error) {
	store := new(forecast.Store)
	restored, err := gating.Restore(ctx, c, c.system, store, source, now)
	if err != nil {
		warn("what was learned of the grid is not used: " + err.Error())
	}
	err = c.offer(ctx, store, source, now)
	return store.Snapshot(source), restored, err
}

// offer reads the forecast of a source.
func (c *cluster) offer(ctx context.Context, store *forecast.Store, source forecast.Source, now time.Time) error {
	var object corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: source.Namespace, Name: source.Name}, &object); err != nil {
		return fmt.Errorf("read the forecast: %w", err)
	}
	written := object.CreationTimestamp.Time
	for _, entry := range object.ManagedFields {
		if entry.Time != nil && entry.Time.After(written) {
			written = entry.Time.Time
		}
	}
	issue, err := forecast.FromConfigMap(object.BinaryData, object.Data, source.Key, written)
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", source.Namespace, source.Name, err)
	}
	if err := store.Offer(source, issue, now); err != nil && len(store.Snapshot(source).Locations()) == 0 {
		return fmt.Errorf("ConfigMap %s/%s: %w", source.Namespace, source.Name, err)
	}
	return nil
}

// at is a clock that stands still.
type at time.Time

// Now is always the same.
func (t at) Now() time.Time { return time.Time(t) }
