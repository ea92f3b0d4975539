package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// horizon is how far the releases to come are told apart by the hour.
const horizon = 48 * time.Hour

// A status is what Gridlatch holds, and what comes next.
type status struct {
	Now       time.Time `json:"now"`
	Namespace string    `json:"namespace,omitempty"` // that was looked at; none is all
	// Running counts the pods that Gridlatch has let go, and that run now.
	Running int `json:"running"`
	// Controller is whether somebody is there to let go what is held, and Overdue what should have been.
	Controller controller     `json:"controller"`
	Overdue    *overdue       `json:"overdue,omitempty"`
	Policies   []policyStatus `json:"policies"`
	Releases   []release      `json:"releases"`

	warnings []string
}

// policyStatus is what is known of a policy.
type policyStatus struct {
	Name    string `json:"name"`
	BuiltIn bool   `json:"builtIn,omitempty"` // there is no object of that name
	Source  string `json:"source,omitempty"`
	// Locations is empty if nothing is known of them.
	Locations []v1alpha1.LocationStatus `json:"locations"`
	// Problems are what the policy's conditions complain of.
	Problems    []string   `json:"problems,omitempty"`
	unseen      bool       // it does not exist, or may not be read
	Groups      int        `json:"heldGroups"`
	Pods        int        `json:"heldPods"`
	NextRelease *time.Time `json:"nextRelease,omitempty"`
}

// A release counts what is planned to start within an hour; without a time, what comes later or is not planned yet.
type release struct {
	From   *time.Time `json:"from,omitempty"`
	Groups int        `json:"groups"`
	Pods   int        `json:"pods"`
}

type statusFlags struct {
	cluster connection
	output  string
}

func newStatus(e env) *cobra.Command {
	f := &statusFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the grid now, what is held, and what starts next",
		Long: `Show for each policy the intensity of its locations now, the age of the forecast
and how well the grid is known; how much is held, and how much runs; and when it
is planned to start, by the hour. It is that of the whole cluster, unless a
namespace is given.`,
		Example: `  kubectl gridlatch status
  kubectl gridlatch status -n batch -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), e)
		},
	}
	cmd.Flags().SortFlags = false
	bindOutput(cmd, &f.output)
	f.cluster.bind(cmd.Flags())
	return cmd
}

func (f *statusFlags) run(ctx context.Context, e env) error {
	if err := wantOutput(f.output, "yaml"); err != nil {
		return err
	}
	c, err := e.connect(f.cluster)
	if err != nil {
		return err
	}
	s, err := c.status(ctx, f.cluster.overrides.Context.Namespace)
	if err != nil {
		return err
	}
	e.warn(s.warnings)
	if f.output != "" {
		return e.print(f.output, s)
	}
	s.writeText(e)
	return nil
}

// status looks at a namespace, or at the cluster if that is empty.
func (c *cluster) status(ctx context.Context, namespace string) (*status, error) {
	s := &status{Now: c.now, Namespace: namespace, Policies: []policyStatus{}, Releases: []release{}}
	held, err := c.held(ctx, namespace)
	if err != nil {
		return nil, allowed(err, namespace)
	}
	s.Releases, s.Overdue = held.releases(c.now), held.overdue(c.now)
	if s.Controller, err = c.controller(ctx); err != nil {
		return nil, err
	}
	running := client.ListOptions{
		Namespace: namespace, LabelSelector: labels.SelectorFromSet(labels.Set{v1alpha1.StateLabel: v1alpha1.StateReleased}),
		FieldSelector: fields.OneTermEqualSelector("status.phase", string(corev1.PodRunning)),
	}
	if err := gating.Walk(ctx, c, metadataList(podKind), running, func(client.Object) { s.Running++ }); err != nil {
		return nil, allowed(fmt.Errorf("list pods: %w", err), namespace)
	}
	return s, c.policies(ctx, s, held)
}

// allowed adds what to do to an error of somebody who may not see the whole cluster.
func allowed(err error, namespace string) error {
	if apierrors.IsForbidden(err) && namespace == "" {
		return fmt.Errorf("%w (one namespace is enough: -n NAMESPACE)", err)
	}
	return err
}

// A holding is how much of a group waits, and until when.
type holding struct {
	kind            kind
	namespace, name string // of one of its objects
	policy          string
	pods            int
	planned, latest *time.Time // starts; nil if not known
	whole           bool       // the Job itself is held, and so has no pods
	runs            bool       // the Job has pods, or had some
}

// holdings are the groups that wait, by what they are decided by. An owner is in the namespace of what it owns.
type holdings map[groupKey]*holding

type groupKey struct {
	namespace string
	uid       types.UID
}

// held gathers what waits: a Job with its pods, the pods of another owner, or one pod. What is let go and could not be
// told so is none of it.
func (c *cluster) held(ctx context.Context, namespace string) (holdings, error) {
	all := holdings{}
	which := client.ListOptions{Namespace: namespace, LabelSelector: labels.SelectorFromSet(labels.Set{v1alpha1.StateLabel: v1alpha1.StateHeld})}
	err := gating.Walk(ctx, c, &batchv1.JobList{}, which, func(o client.Object) {
		if job, ok := o.(*batchv1.Job); ok {
			all.addJob(job)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	which.FieldSelector = fields.SelectorFromSet(fields.Set{"spec.nodeName": "", "status.phase": string(corev1.PodPending)})
	err = gating.Walk(ctx, c, &corev1.PodList{}, which, func(o client.Object) {
		if pod, ok := o.(*corev1.Pod); ok && gating.HasGate(pod.Spec.SchedulingGates) {
			all.addPod(pod)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	maps.DeleteFunc(all, func(_ groupKey, g *holding) bool { return g.runs && g.pods == 0 })
	return all, nil
}

func (all holdings) addJob(job *batchv1.Job) {
	whole := job.Annotations[v1alpha1.HeldByAnnotation] != ""
	if whole && !ptr.Deref(job.Spec.Suspend, false) {
		return
	}
	g := all.add(groupKey{job.Namespace, job.UID}, jobKind, job)
	if g.whole = whole; whole {
		g.pods = gating.PodsToRun(job)
	} else {
		g.runs = job.Status.Active+job.Status.Succeeded > 0
	}
}

func (all holdings) addPod(pod *corev1.Pod) {
	key := groupKey{pod.Namespace, pod.UID}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		key.uid = owner.UID
	}
	g := all[key]
	if g == nil {
		g = all.add(key, podKind, pod)
	}
	if !g.whole {
		g.pods++
	}
}

func (all holdings) add(key groupKey, k kind, o metav1.Object) *holding {
	annotations := o.GetAnnotations()
	g := &holding{
		kind: k, namespace: o.GetNamespace(), name: o.GetName(), policy: cmp.Or(annotations[v1alpha1.PolicyAnnotation], v1alpha1.DefaultPolicy),
		planned: instant(annotations[v1alpha1.PlannedStartAnnotation]), latest: instant(annotations[v1alpha1.LatestStartAnnotation]),
	}
	all[key] = g
	return g
}

// releases counts what is planned by the hour, in order of time; the last may be without one.
func (all holdings) releases(now time.Time) []release {
	hours, rest := map[time.Time]*release{}, release{}
	for _, g := range all {
		r := &rest
		if hour := later(ptr.Deref(g.planned, now), now).Truncate(time.Hour); g.planned != nil && hour.Before(now.Add(horizon)) {
			if hours[hour] == nil {
				hours[hour] = &release{From: &hour}
			}
			r = hours[hour]
		}
		r.Groups++
		r.Pods += g.pods
	}
	sorted := []release{}
	for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		sorted = append(sorted, *hours[hour])
	}
	if rest.Groups > 0 {
		sorted = append(sorted, rest)
	}
	return sorted
}

// policies adds what is known of each policy; those that are gone, or may not be read, are those of what they hold.
func (c *cluster) policies(ctx context.Context, s *status, held holdings) error {
	var list v1alpha1.CarbonPolicyList
	missing := []string{"it does not exist any more: what it holds is released"}
	err := c.List(ctx, &list)
	hidden := apierrors.IsForbidden(err)
	switch {
	case hidden:
		s.warnings, missing = append(s.warnings, refused(err).Error()), nil
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		s.warnings = append(s.warnings, "the cluster knows no CarbonPolicies: Gridlatch is not installed in it")
	case err != nil:
		return fmt.Errorf("list CarbonPolicies: %w", err)
	}
	byName := map[string]*policyStatus{}
	for i := range list.Items {
		p := fromObject(&list.Items[i])
		byName[p.Name] = p
	}
	if byName[v1alpha1.DefaultPolicy] == nil && !hidden {
		builtIn, err := c.builtIn(ctx, s)
		if err != nil {
			return err
		}
		byName[builtIn.Name] = builtIn
	}
	for _, g := range held {
		if byName[g.policy] == nil {
			byName[g.policy] = &policyStatus{Name: g.policy, Problems: missing, unseen: true}
		}
		byName[g.policy].count(g)
	}
	s.Policies = sorted(byName)
	return nil
}

// sorted returns policies by their names. Those that are not seen come last: anybody can name policies that there are
// not.
func sorted(byName map[string]*policyStatus) []policyStatus {
	all := make([]policyStatus, 0, len(byName))
	for _, p := range byName {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b policyStatus) int {
		if a.unseen != b.unseen {
			return map[bool]int{true: 1, false: -1}[a.unseen]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all
}

func (p *policyStatus) count(g *holding) {
	p.Groups++
	p.Pods += g.pods
	if g.planned != nil && (p.NextRelease == nil || g.planned.Before(*p.NextRelease)) {
		p.NextRelease = g.planned
	}
}

// fromObject is what the controller says of a policy.
func fromObject(object *v1alpha1.CarbonPolicy) *policyStatus {
	key := object.Spec.Forecast.ConfigMap
	p := &policyStatus{
		Name: object.Name, Source: forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key}.String(), Locations: object.Status.Locations,
	}
	for _, c := range object.Status.Conditions {
		if complains(c) {
			p.Problems = append(p.Problems, c.Message)
		}
	}
	if len(object.Status.Conditions) == 0 {
		p.Problems = []string{"the controller has not looked at it yet"}
	}
	return p
}

// complains tells whether a condition is a problem: most are if they are not true.
func complains(c metav1.Condition) bool {
	if c.Type == v1alpha1.ConditionReleasesFailing {
		return c.Status == metav1.ConditionTrue
	}
	return c.Status != metav1.ConditionTrue || c.Reason == v1alpha1.ReasonLastGood
}

// builtIn works out what the controller does, which has no object to say so.
func (c *cluster) builtIn(ctx context.Context, s *status) (*policyStatus, error) {
	o, err := c.look(ctx, v1alpha1.DefaultPolicy)
	if err != nil {
		return nil, err
	}
	p := &policyStatus{Name: o.policy.Name, BuiltIn: true, Source: o.policy.Source.String()}
	s.warnings = append(s.warnings, o.warnings...)
	if o.book != nil {
		p.Locations = o.policy.Locations(o.book, c.now)
	}
	return p, nil
}
