package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Policy is a CarbonPolicy made ready for planning. The webhook and the loop both decide through a
// Policy, and so give the same answer.
type Policy struct {
	// Name is the name of the CarbonPolicy.
	Name string
	// Exists is false for the built-in default policy.
	Exists bool
	// Source names the forecast in a forecast.Store.
	Source forecast.Source
	// Substitute names what is read, and kept under the name of Source, if the ConfigMap of Source
	// does not exist. Substitute is zero if there is nothing else to read.
	Substitute forecast.Source
	// Remedy says what to do if neither the ConfigMap of Source nor that of Substitute exists, as the
	// end of a sentence. Remedy is empty if nothing is known of who writes the ConfigMap.
	Remedy string
	// Problems names the parts of the spec and of its nodes that cannot be used. The rest of the
	// spec applies.
	Problems []string
	// Warnings names the parts of the spec that apply, and are probably a mistake.
	Warnings []string
	// Accounting says how the energy of work is known.
	Accounting Accounting

	isAbandoned                       bool // the policy takes the place of policies that do not exist
	spec                              v1alpha1.CarbonPolicySpec
	terms                             plan.Terms
	maxDelay, defaultDuration, maxAge time.Duration
	restartCost, minRun               time.Duration // of interruptible work that does not say
	buckets                           plan.Buckets
	// sites has the locations with nodes, in the order of the spec, if the policy chooses between
	// locations. If no location is known to have nodes, sites has the first location.
	sites []plan.Site
	nodes *Nodes
}

// New makes the policy of an object ready at a moment. The namespace is that of Gridlatch. Nodes
// tells which locations have nodes. Without nodes, a policy with several locations plans work for
// the first location.
func New(ctx context.Context, object *v1alpha1.CarbonPolicy, namespace string, nodes *Nodes, now time.Time) *Policy {
	p := read(ctx, object, namespace, nodes, now)
	p.findSites(ctx, nodes)
	return p
}

// read returns the policy of an object without its sites.
func read(ctx context.Context, object *v1alpha1.CarbonPolicy, namespace string, nodes *Nodes, now time.Time) *Policy {
	p := &Policy{Name: object.Name, Exists: true, spec: object.Spec, Source: SourceOf(object, namespace)}
	p.Substitute, p.Remedy = substituteFor(p.Source, namespace), remedyFor(object, p.Source)
	p.readNumbers()
	p.readAccounting()
	p.selectRegions(ctx, nodes)
	for i, l := range p.spec.Locations {
		if err := checkSelector(l.NodeSelector); err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.locations[%d].nodeSelector%v", i, err))
		}
		if before := p.shadowedBy(i); before != "" {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.locations[%d].nodeSelector: location %q has no nodes, because location %q comes first and takes all nodes with these labels", i, l.Name, before))
		}
	}
	for i, e := range object.Spec.Exemptions {
		exemption, err := newExemption(e, now)
		if err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.exemptions[%d]: %v", i, err))
			continue
		}
		if warning := exemption.Warning(); warning != "" {
			p.Warnings = append(p.Warnings, fmt.Sprintf("spec.exemptions[%d]: schedule %.80q: %s", i, e.Schedule, warning))
		}
		p.terms.Exemptions = append(p.terms.Exemptions, exemption)
	}
	return p
}

// Buckets returns the buckets of the policy. There may be none.
func (p *Policy) Buckets() plan.Buckets { return p.buckets }

// HasBuckets reports whether ceilings limit how many pods run at once.
func (p *Policy) HasBuckets() bool { return !p.buckets.IsEmpty() }

// GridLocations returns the locations of the policy, the default location first. A policy that
// names no location has one without a name, the only location of its forecast.
func (p *Policy) GridLocations() []v1alpha1.Location {
	if len(p.spec.Locations) == 0 {
		return []v1alpha1.Location{{}}
	}
	return slices.Clone(p.spec.Locations)
}

// LocationNames returns the names of the locations in the spec.
func (p *Policy) LocationNames() []string {
	names := make([]string, len(p.spec.Locations))
	for i, l := range p.spec.Locations {
		names[i] = l.Name
	}
	return names
}

// ResolveLocation returns the location that was asked for, or else the first location of the
// policy. The empty name stands for the only location of the forecast.
func (p *Policy) ResolveLocation(asked string) string {
	if asked == "" && len(p.spec.Locations) > 0 {
		return p.spec.Locations[0].Name
	}
	return asked
}

// CheckLocation returns an error if work cannot be pinned to a location.
func (p *Policy) CheckLocation(snapshot *forecast.Snapshot, location string) error {
	var known []string
	for _, l := range p.spec.Locations {
		known = append(known, l.Name)
	}
	if len(known) == 0 {
		if _, ok := snapshot.Forecast(location); ok || len(snapshot.Locations()) == 0 {
			return nil
		}
		known = snapshot.Locations()
	}
	for _, name := range known {
		if name == location {
			return nil
		}
	}
	return fmt.Errorf("want a location of policy %s: %s", p.Name, strings.Join(known, ", "))
}
