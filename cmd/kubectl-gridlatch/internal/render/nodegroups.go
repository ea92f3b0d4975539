package render

import (
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/plan"
)

// neutralOrder is in force while the intensity does not count, and the owner has no priorities.
const neutralOrder = "1:\n- \".*\"\n"

// nodeGroups prints a row for each Cluster Autoscaler, and then why its node groups have their order.
func (p Page) nodeGroups(all []cluster.NodeGroupsStatus, now time.Time) {
	if len(all) == 0 {
		return
	}
	p.Out.Printf("%sNode groups of Cluster Autoscaler%s\n", screen.Bold, screen.Plain)
	table := p.Out.Table(2)
	table.Row("  NAMESPACE", "BY", "ORDER", "NEXT CHANGE")
	for _, groups := range all {
		order, next := "its own", "-"
		switch groups.Priorities {
		case "":
		case neutralOrder:
			order = "all alike"
		default:
			order = "by carbon"
		}
		if groups.NextChange != nil {
			next = groups.NextChange.Format("Jan 2 15:04") + in(groups.NextChange.Sub(now))
		}
		table.Row("  "+groups.Namespace, groups.By, order, next)
	}
	table.Flush()
	for _, groups := range all {
		switch {
		case groups.ReleasedUntil != nil:
			p.Out.Printf("  %s: given back by hand; Gridlatch leaves the order alone until %s\n", groups.Namespace, plan.FormatTime(*groups.ReleasedUntil))
		case groups.Reason != "":
			p.Out.Printf("  %s: %s\n", groups.Namespace, groups.Reason)
		}
	}
	p.Out.Printf("\n")
}
