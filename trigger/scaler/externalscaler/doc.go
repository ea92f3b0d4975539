// Package externalscaler has the stubs of KEDA's protocol for external scalers. `make generate`
// makes them of externalscaler.proto.
//
// The stubs of KEDA itself would bring all that KEDA requires into this module. No program can link
// both: the two register the same names.
package externalscaler
