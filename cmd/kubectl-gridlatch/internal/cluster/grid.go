package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// grid has what a user can know of the grid of a policy.
type grid struct {
	policy   *policy.Policy
	snapshot *forecast.Snapshot
	// read is the ConfigMap that the forecast is in: the source of the policy, or its substitute.
	read forecast.Source
	// isShipped says that the policy is the one that ships with Gridlatch: the cluster has none.
	isShipped bool
	// isLearned says that the snapshot has what the controller has learned.
	isLearned bool
	// problem is why the forecast cannot be read; the snapshot has none then.
	problem  error
	warnings []string
}

// readGrid reads a policy, its forecast, and what the controller has learned of the forecast. The
// policy can be edited before it is used; edit may be nil.
func (c *Cluster) readGrid(ctx context.Context, name string, now time.Time, edit func(*v1alpha1.CarbonPolicySpec)) (*grid, error) {
	g := &grid{}
	reader := &policyReader{Reader: c.API, edit: edit}
	var err error
	if g.policy, err = (policy.Policies{Reader: reader, Clock: clock(now), Namespace: c.System, Nodes: &policy.Nodes{Reader: c.API}}).Get(ctx, name); err != nil {
		return nil, withRole(err)
	}
	g.isShipped = reader.isShipped
	for _, problem := range g.policy.Problems {
		g.warnings = append(g.warnings, "CarbonPolicy "+g.policy.Name+": "+problem)
	}
	var store forecast.Store
	learned, err := history.Restore(ctx, c.API, c.System, &store, g.policy.Source, now)
	if err != nil {
		g.warnings = append(g.warnings, "what was learned of the grid is not used: "+err.Error())
	}
	g.isLearned = learned > 0
	g.read, g.problem = c.readForecast(ctx, &store, g.policy, now)
	g.snapshot = store.Snapshot(g.policy.Source)
	return g, nil
}

// readForecast gives a store the forecast of a policy, as the controller does, and returns where the
// forecast is. The error says why nothing is known of the grid.
func (c *Cluster) readForecast(ctx context.Context, store *forecast.Store, rules *policy.Policy, now time.Time) (forecast.Source, error) {
	read, document, err := c.document(ctx, rules, now)
	if err == nil {
		err = store.Offer(rules.Source, document, now)
	} else {
		store.Fail(rules.Source, err)
	}
	if len(store.Snapshot(rules.Source).Locations()) > 0 { // the snapshot has the problem
		return read, nil
	}
	return read, err
}

// document returns the newest document of a policy, and where the document is.
func (c *Cluster) document(ctx context.Context, rules *policy.Policy, now time.Time) (forecast.Source, forecast.Document, error) {
	read, object, err := c.forecastConfigMap(ctx, rules)
	if err != nil {
		return read, forecast.Document{}, err
	}
	document, err := forecast.FromConfigMap(object.BinaryData, object.Data, read.Key, history.LastWritten(object, now))
	if _, isEmpty := errors.AsType[*forecast.EmptyError](err); err != nil && !isEmpty { // else the writer says what to do
		err = fmt.Errorf("ConfigMap %s/%s: %w", read.Namespace, read.Name, err)
	}
	return read, document, err
}

// forecastConfigMap returns the ConfigMap with the forecast of a policy, and where it was found.
func (c *Cluster) forecastConfigMap(ctx context.Context, rules *policy.Policy) (forecast.Source, *corev1.ConfigMap, error) {
	read, object := rules.Source, &corev1.ConfigMap{}
	err := c.API.Get(ctx, client.ObjectKey{Namespace: read.Namespace, Name: read.Name}, object)
	if apierrors.IsNotFound(err) && rules.Substitute != (forecast.Source{}) {
		read = rules.Substitute
		err = c.API.Get(ctx, client.ObjectKey{Namespace: read.Namespace, Name: read.Name}, object)
	}
	if apierrors.IsNotFound(err) && rules.Remedy != "" {
		return read, nil, &policy.MissingForecastError{Source: rules.Source, Remedy: rules.Remedy}
	}
	if err != nil {
		return read, nil, fmt.Errorf("read the forecast: %w", err)
	}
	return read, object, nil
}

// Plan answers when work would start that is created now, by a policy of the cluster. The policy
// can be edited before it is used.
func (c *Cluster) Plan(ctx context.Context, question answer.Question, policyName string, edit func(*v1alpha1.CarbonPolicySpec)) (answer.Plan, error) {
	g, err := c.readGrid(ctx, policyName, question.Now, edit)
	if err != nil {
		return answer.Plan{}, err
	}
	if g.problem != nil {
		return answer.Plan{}, g.problem
	}
	answered := answer.Plan{Question: question, Source: "ConfigMap " + g.read.String(), Warnings: g.warnings}
	if g.isShipped {
		answered.Warnings = append(answered.Warnings, "the cluster has no CarbonPolicy "+g.policy.Name+": the plan is by the one that ships with Gridlatch")
	}
	if problem := g.snapshot.Problem(); problem != "" {
		answered.Warnings = append(answered.Warnings, "about the forecast: "+problem)
	}
	if note := g.snapshot.Note(); note != "" {
		answered.Warnings = append(answered.Warnings, "about the forecast: "+note)
	}
	task := g.policy.Task(policy.Ask{
		Deadline: question.Deadline, Duration: question.Duration, Threshold: question.Threshold, Location: question.Location,
	}, question.Now)
	answered.Decision = g.policy.Decide(g.snapshot, question.Location, question.Now, task)
	location := answered.Decision.Location
	answered.Forecast, _ = g.snapshot.Forecast(location)
	answered.Elsewhere = g.elsewhere(question.Now, task, location)
	answered.Expected = answered.Forecast.Series
	if expected, _ := g.policy.Predict(g.snapshot, location, question.Now); !expected.Series.IsEmpty() {
		answered.Expected = expected.Series
	}
	return answered, nil
}

// elsewhere returns the cheapest start in each other location that work may run in.
func (g *grid) elsewhere(now time.Time, task plan.Task, chosen string) []answer.Window {
	task.PlannedStart, task.Held = time.Time{}, true
	var all []answer.Window
	for _, site := range task.Locations {
		if site.Name != chosen {
			d := g.policy.Planner(g.snapshot, site.Name, now, task.LatestStart).Decide(task)
			all = append(all, answer.NewWindow("in "+site.Name, d.Start, task.Duration, d.Expected, d.PowerFactor))
		}
	}
	return all
}

// policyReader reads policies from the cluster, and edits them. If the cluster has no default
// policy, the one that ships with Gridlatch takes its place.
type policyReader struct {
	client.Reader
	edit func(*v1alpha1.CarbonPolicySpec)
	// isShipped says that the default policy that ships with Gridlatch was read.
	isShipped bool
}

// Get reads one object.
func (r *policyReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, object, options...)
	policy, ok := object.(*v1alpha1.CarbonPolicy)
	if !ok {
		return err
	}
	if key.Name == v1alpha1.DefaultPolicy && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err)) {
		r.isShipped, err = true, nil
		v1alpha1.Default().DeepCopyInto(policy)
	}
	if err == nil && r.edit != nil {
		r.edit(&policy.Spec)
	}
	return err
}

// doubts returns what is wrong with a policy or its forecast.
func (g *grid) doubts() []string {
	doubts := g.warnings
	if g.problem != nil {
		return append(doubts, g.problem.Error())
	}
	if doubt := g.snapshot.Doubt(); doubt != "" {
		doubts = append(doubts, "about the forecast: "+doubt)
	}
	return doubts
}
