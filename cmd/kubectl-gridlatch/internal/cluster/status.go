package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// Status says what Gridlatch holds, and what starts next.
type Status struct {
	Now time.Time `json:"now"`
	// Namespace is the one that was looked at, empty for the whole cluster.
	Namespace string `json:"namespace,omitempty"`
	// Running counts the pods that Gridlatch has released and that run now.
	Running int `json:"running"`
	// RunningAudited counts the pods that Gridlatch has audited and that run now.
	RunningAudited int `json:"runningAudited,omitempty"`
	// Controller says whether somebody is there to release work.
	Controller Controller     `json:"controller"`
	Overdue    *Overdue       `json:"overdue,omitempty"`
	Policies   []PolicyStatus `json:"policies"`
	// NodePools are those of Karpenter that Gridlatch has looked at.
	NodePools []NodePoolStatus `json:"nodePools,omitempty"`
	// NodeGroups are those of each Cluster Autoscaler that Gridlatch has looked at.
	NodeGroups []NodeGroupsStatus `json:"nodeGroups,omitempty"`
	Releases   []Release          `json:"releases"`

	Warnings []string `json:"-"`
}

// PolicyStatus says what is known of a policy, and how much it holds.
type PolicyStatus struct {
	Name string `json:"name"`
	// BuiltIn says that the cluster has no object of that name.
	BuiltIn bool `json:"builtIn,omitempty"`
	// IsAudit says that the policy holds nothing.
	IsAudit bool   `json:"audit,omitempty"`
	Source  string `json:"source,omitempty"`
	// Locations is empty if nothing is known of them.
	Locations []v1alpha1.LocationStatus `json:"locations"`
	// Problems are the messages of the conditions that complain.
	Problems []string `json:"problems,omitempty"`
	Groups   int      `json:"heldGroups"`
	Pods     int      `json:"heldPods"`
	// PausedGroups are those of the held groups that have run before.
	PausedGroups int        `json:"pausedGroups,omitempty"`
	NextRelease  *time.Time `json:"nextRelease,omitempty"`
	// Audited counts the work in the whole cluster that would be held now if it had not been audited.
	Audited *v1alpha1.HeldStatus `json:"audited,omitempty"`

	// IsUnseen says that the policy does not exist, or may not be read.
	IsUnseen bool `json:"-"`
}

// Status looks at a namespace, or at the whole cluster if the namespace is empty.
func (c *Cluster) Status(ctx context.Context, namespace string) (*Status, error) {
	s := &Status{Now: c.Now, Namespace: namespace}
	held, warnings, err := c.held(ctx, namespace)
	if err != nil {
		return nil, withNamespaceHint(err, namespace)
	}
	s.Warnings = warnings
	s.Releases, s.Overdue = held.releases(c.Now), held.overdue(c.Now)
	if s.Controller, err = c.Controller(ctx); err != nil {
		return nil, err
	}
	for state, count := range map[string]*int{v1alpha1.StateReleased: &s.Running, v1alpha1.StateAudited: &s.RunningAudited} {
		if *count, err = c.countRunning(ctx, namespace, state); err != nil {
			return nil, withNamespaceHint(err, namespace)
		}
	}
	if s.NodePools, err = c.nodePools(ctx); err != nil {
		return nil, err
	}
	if s.NodeGroups, err = c.nodeGroups(ctx); err != nil {
		return nil, err
	}
	return s, c.addPolicies(ctx, s, held)
}

// countRunning returns how many pods in a state run in a namespace, or in the whole cluster if the
// namespace is empty.
func (c *Cluster) countRunning(ctx context.Context, namespace, state string) (pods int, err error) {
	running := client.ListOptions{
		Namespace: namespace, LabelSelector: labels.SelectorFromSet(labels.Set{v1alpha1.StateLabel: state}),
		FieldSelector: fields.OneTermEqualSelector("status.phase", string(corev1.PodRunning)),
	}
	if err := hold.Walk(ctx, c.API, metadataList(PodKind), running, func(client.Object) { pods++ }); err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	return pods, nil
}

// withNamespaceHint adds a hint to the error of a user who may not read the whole cluster.
func withNamespaceHint(err error, namespace string) error {
	if apierrors.IsForbidden(err) && namespace == "" {
		return fmt.Errorf("%w (to look at one namespace only: -n NAMESPACE)", err)
	}
	return err
}

// addPolicies adds what is known of each policy. Of policies that do not exist any more, or may not
// be read, only what they hold is known.
func (c *Cluster) addPolicies(ctx context.Context, s *Status, held groups) error {
	var list v1alpha1.CarbonPolicyList
	unseenProblems := []string{"the policy does not exist any more: the work that it holds is released"}
	err := c.API.List(ctx, &list)
	isForbidden := apierrors.IsForbidden(err)
	switch {
	case isForbidden:
		s.Warnings, unseenProblems = append(s.Warnings, withRole(err).Error()), nil
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		s.Warnings = append(s.Warnings, "the cluster does not know CarbonPolicies: Gridlatch is not installed there")
	case err != nil:
		return fmt.Errorf("list CarbonPolicies: %w", err)
	}
	byName := map[string]*PolicyStatus{}
	for i := range list.Items {
		p := c.reported(&list.Items[i])
		byName[p.Name] = p
	}
	if byName[v1alpha1.DefaultPolicy] == nil && !isForbidden {
		builtIn, err := c.builtIn(ctx, s)
		if err != nil {
			return err
		}
		byName[builtIn.Name] = builtIn
	}
	for _, g := range held {
		if byName[g.policy] == nil {
			byName[g.policy] = &PolicyStatus{Name: g.policy, Problems: unseenProblems, IsUnseen: true}
		}
		byName[g.policy].count(g)
	}
	s.Policies = sorted(byName)
	return nil
}

// sorted returns policies in order of their names. Those that are unseen come last: anybody can
// name policies that do not exist.
func sorted(byName map[string]*PolicyStatus) []PolicyStatus {
	all := make([]PolicyStatus, 0, len(byName))
	for _, p := range byName {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b PolicyStatus) int {
		if a.IsUnseen != b.IsUnseen {
			return map[bool]int{true: 1, false: -1}[a.IsUnseen]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all
}

// count adds a group to what the policy holds.
func (p *PolicyStatus) count(g *group) {
	p.Groups++
	p.Pods += g.pods
	if g.isPaused {
		p.PausedGroups++
	}
	if g.planned != nil && (p.NextRelease == nil || g.planned.Before(*p.NextRelease)) {
		p.NextRelease = g.planned
	}
}

// reported returns what the controller says of a policy.
func (c *Cluster) reported(object *v1alpha1.CarbonPolicy) *PolicyStatus {
	p := &PolicyStatus{Name: object.Name, Source: policy.SourceOf(object, c.System).String(), Locations: object.Status.Locations, IsAudit: object.Spec.Mode == v1alpha1.ModeAudit, Audited: object.Status.Audited}
	for _, condition := range object.Status.Conditions {
		if complains(condition) {
			p.Problems = append(p.Problems, condition.Message)
		}
	}
	if len(object.Status.Conditions) == 0 {
		p.Problems = []string{"the controller has not looked at this policy yet"}
	}
	return p
}

// complains reports whether a condition is a problem: most conditions are if they are not true.
func complains(c metav1.Condition) bool {
	if c.Type == v1alpha1.ConditionReleasesFailing {
		return c.Status == metav1.ConditionTrue
	}
	return c.Status != metav1.ConditionTrue || c.Reason == v1alpha1.ReasonLastGood
}

// builtIn returns what is known of the policy that ships with Gridlatch, for a cluster without an
// object of that policy.
func (c *Cluster) builtIn(ctx context.Context, s *Status) (*PolicyStatus, error) {
	g, err := c.readGrid(ctx, v1alpha1.DefaultPolicy, c.Now, nil)
	if err != nil {
		return nil, err
	}
	p := &PolicyStatus{Name: g.policy.Name, BuiltIn: true, Source: g.read.String()}
	s.Warnings = append(s.Warnings, g.doubts()...)
	if g.problem == nil {
		p.Locations = g.policy.LocationStatuses(g.snapshot, c.Now)
	}
	return p, nil
}
