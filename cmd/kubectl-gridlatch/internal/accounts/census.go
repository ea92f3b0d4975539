package accounts

import (
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/plan"
)

// Census says how much of what the cluster runs can wait at all, and how much of that waited. A core-hour
// is a core that a pod requests, for an hour.
type Census struct {
	// Samples counts how often the pods were counted, and Until is the last time.
	Samples int       `json:"samples"`
	Until   time.Time `json:"until,omitzero"`
	// CoreHours are of all pods that ran, ElasticCoreHours of those that could wait, and HeldCoreHours of
	// those that waited.
	CoreHours        float64 `json:"coreHours"`
	ElasticCoreHours float64 `json:"elasticCoreHours"`
	HeldCoreHours    float64 `json:"heldCoreHours"`
	// ElasticPercent is of CoreHours, HeldPercent of ElasticCoreHours.
	ElasticPercent *float64 `json:"elasticPercent,omitempty"`
	HeldPercent    *float64 `json:"heldPercent,omitempty"`
}

// census sums what the pages say of the whole cluster. It returns nil if nobody has counted, or if the
// question is about one namespace.
func (l *Ledger) census(q Question) *Census {
	if q.Namespace != "" {
		return nil
	}
	var sum ledger.Census
	for _, page := range l.Pages {
		sum.Merge(page.Census())
	}
	if sum.Samples == 0 {
		return nil
	}
	return &Census{
		Samples: sum.Samples, Until: sum.Until.UTC(), CoreHours: sum.CoreHours, ElasticCoreHours: sum.ElasticCoreHours, HeldCoreHours: sum.HeldCoreHours,
		ElasticPercent: known(sum.ElasticShare()), HeldPercent: known(sum.HeldShare()),
	}
}

// censusClaims says how the pods of the cluster were counted, if the report is about the whole cluster.
func censusClaims(r Report) []string {
	if r.Namespace != "" {
		return nil
	}
	if r.Census == nil {
		return []string{"How much of what the cluster runs could wait at all is not known: nobody has counted the pods in this time. Gridlatch counts them once an hour."}
	}
	return []string{
		fmt.Sprintf("How much of what the cluster ran could wait is known from %s of the pods that ran, about one an hour, the last at %s. Pods that ran for less than an hour may be missed, or count for too much. Audited work counts as work that could wait.",
			count(r.Census.Samples, "count"), plan.FormatTime(r.Census.Until)),
	}
}

// restClaims says what work that could wait and did not wait could have gained, if the report is about the
// whole cluster.
func restClaims(r Report) []string {
	if r.Namespace != "" {
		return nil
	}
	for _, s := range r.Sections {
		if s.Total.AtOnceCoreHours() > 0 {
			return []string{"Work that could wait and started at once has gained nothing. What perfect foresight would have saved of this work is the most that it could have gained, as far as the intensities are known."}
		}
	}
	return nil
}
