package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// NodeGroup is one or several node groups of Cluster Autoscaler at one location.
type NodeGroup struct {
	// Pattern is a regular expression for the names of the node groups.
	Pattern string
	// Location is as in the spec, empty for the first location of the policy.
	Location string
	Power    float64
}

// NodeGroups is what a policy says of the node groups of a Cluster Autoscaler.
type NodeGroups struct {
	Policy string
	// Namespace is where Cluster Autoscaler runs.
	Namespace string
	Groups    []NodeGroup
	// Mistake says why the groups cannot be ranked, nil if they can.
	Mistake error
}

// NodeGroups returns what each policy says of node groups, in the order of the policies' names. Of several
// policies that name the same namespace, the first one counts, and the others are left out.
func (p Policies) NodeGroups(ctx context.Context) ([]NodeGroups, error) {
	objects, err := p.autoscaling(ctx)
	if err != nil {
		return nil, err
	}
	all, isTaken := make([]NodeGroups, 0, len(objects)), map[string]bool{}
	for _, o := range objects {
		groups, problems := readNodeGroups(o)
		if isTaken[groups.Namespace] {
			continue
		}
		isTaken[groups.Namespace] = true
		if len(problems) > 0 {
			groups.Mistake = errors.New(strings.Join(problems, "; "))
		}
		all = append(all, groups)
	}
	return all, nil
}

// autoscaling returns the policies that name a Cluster Autoscaler, in the order of their names.
func (p Policies) autoscaling(ctx context.Context) ([]*v1alpha1.CarbonPolicy, error) {
	var list v1alpha1.CarbonPolicyList
	if err := p.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list CarbonPolicies: %w", err)
	}
	var found []*v1alpha1.CarbonPolicy
	for i := range list.Items {
		if list.Items[i].Spec.ClusterAutoscaler != nil {
			found = append(found, &list.Items[i])
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha1.CarbonPolicy) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// readNodeGroups returns what a policy says of node groups, and what cannot be used of that. The policy must
// name a Cluster Autoscaler.
func readNodeGroups(object *v1alpha1.CarbonPolicy) (groups NodeGroups, problems []string) {
	const field = "spec.clusterAutoscaler.nodeGroups"
	spec := object.Spec.ClusterAutoscaler
	groups.Policy, groups.Namespace = object.Name, cmp.Or(spec.Namespace, v1alpha1.DefaultAutoscalerNamespace)
	for i, g := range spec.NodeGroups {
		power, err := v1alpha1.ParsePowerFactor(cmp.Or(g.PowerFactor, "1"))
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s[%d].powerFactor: %v", field, i, err))
		}
		if _, err := regexp.Compile(g.Pattern); err != nil {
			problems = append(problems, fmt.Sprintf("%s[%d].pattern: %.60q: want a regular expression: %v", field, i, g.Pattern, err))
		}
		groups.Groups = append(groups.Groups, NodeGroup{Pattern: g.Pattern, Location: g.Location, Power: power})
	}
	return groups, problems
}

// checkAutoscaler notes what the policy says of node groups and cannot be used, and that another policy names
// the same Cluster Autoscaler.
func (p Policies) checkAutoscaler(ctx context.Context, policy *Policy, object *v1alpha1.CarbonPolicy) {
	if object.Spec.ClusterAutoscaler == nil {
		return
	}
	groups, problems := readNodeGroups(object)
	policy.Problems = append(policy.Problems, problems...)
	others, err := p.autoscaling(ctx)
	if err != nil {
		return // nobody can say so now, and the next reading asks again
	}
	for _, other := range others {
		if theirs, _ := readNodeGroups(other); theirs.Namespace == groups.Namespace && theirs.Policy < groups.Policy {
			policy.Problems = append(policy.Problems, fmt.Sprintf(
				"spec.clusterAutoscaler.namespace: %q: CarbonPolicy %s names this namespace, too, and comes first by name", groups.Namespace, theirs.Policy))
			return
		}
	}
}
