// Package pages keeps the pages of the ledger in ConfigMaps.
package pages

import "github.com/gridlatch/gridlatch/api/v1alpha1"

const (
	// Label is the label of a ConfigMap with a page: "day" or "month".
	Label = v1alpha1.Prefix + "ledger"
	// DataKey is the key of the page in the binary data of its ConfigMap.
	DataKey = "page"
)
