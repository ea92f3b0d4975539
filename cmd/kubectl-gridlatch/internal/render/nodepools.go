package render

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/plan"
)

// nodePools prints a row for each NodePool, and then why each is as it is.
func (p Page) nodePools(pools []cluster.NodePoolStatus, now time.Time) {
	if len(pools) == 0 {
		return
	}
	p.Out.Printf("%sNodePools of Karpenter%s\n", screen.Bold, screen.Plain)
	table := p.Out.Table(2)
	table.Row("  NODEPOOL", "BY", "BUCKET", "LIMITS", "WEIGHT", "NEXT CHANGE")
	for _, pool := range pools {
		bucket, limits, weight, next := "-", "its own", "its own", "-"
		if pool.Bucket != "" {
			bucket = pool.Bucket
		}
		if len(pool.Limits) > 0 {
			limits = limitsText(pool.Limits)
		}
		if pool.Weight != nil {
			weight = strconv.Itoa(int(*pool.Weight))
		}
		if pool.NextChange != nil {
			next = pool.NextChange.Format("Jan 2 15:04") + in(pool.NextChange.Sub(now))
		}
		table.Row("  "+pool.Name, pool.By, bucket, limits, weight, next)
	}
	table.Flush()
	for _, pool := range pools {
		switch {
		case pool.ReleasedUntil != nil:
			p.Out.Printf("  %s: given back by hand; Gridlatch leaves the pool alone until %s\n", pool.Name, plan.FormatTime(*pool.ReleasedUntil))
		case pool.Reason != "":
			p.Out.Printf("  %s: %s\n", pool.Name, pool.Reason)
		}
	}
	p.Out.Printf("\n")
}

// limitsText names limits, for people.
func limitsText(limits map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		parts = append(parts, name+" "+limits[name])
	}
	return strings.Join(parts, ", ")
}
