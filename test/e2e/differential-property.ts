import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Property } from '../fuzz/property.ts'
import { type Both, startDifferentialEdge, tablesOf } from './differential-edge.ts'
import { noRoute } from './differential-envoy.ts'
import { type RawRequest, requestOf } from './differential-requests.ts'
import { policyText, type Table } from './differential-table.ts'

/** Listeners of one Envoy, each with a table of its own. */
const tableCount = 24

/** What came of the requests, so that a test sees whether they said anything. */
export interface Tally {
  agreed: number
  /** Postern denied, or Envoy refused the request by itself. */
  denied: number
  refused: number
}

/** A request and the table that it is sent to. */
interface Case {
  readonly index: number
  readonly request: RawRequest
}

/**
 * Wherever Postern allows, it decided by the route that Envoy takes; and about requests with nothing odd in them the two are one
 * mind altogether. More is not promised: Postern refuses what could be read in two ways.
 */
function judge({ request }: Case, { envoy, postern, reason }: Both, table: Table): void {
  const where = `\n${policyText(table, 'r')}\nEnvoy took ${envoy}, Postern ${postern} (${reason})`
  if (reason === 'ok') assert.equal(postern, envoy, `they took different routes${where}`)
  // `/x/` is refused where only a wildcard would take it beside a route for `/x`.
  else if (request.plain && reason !== undefined && !/.\/$/.test(request.path)) {
    assert.equal(reason, 'no_route', where)
    assert.equal(envoy, noRoute, `Postern has no route for a plain request that Envoy has one for${where}`)
  }
}

/** Envoy's choice of a route beside Postern's, through a real Envoy. */
export function routeAgreement(tally: Tally = { agreed: 0, denied: 0, refused: 0 }): Property<Case> {
  return {
    name: 'routes: Postern decides by the route that Envoy takes',
    weight: 2,
    few: 4000,
    open: async (seed) => {
      const tables = tablesOf(seed, tableCount)
      const edge = await startDifferentialEdge(tables)
      const inputs = fc.nat(tables.length - 1).chain((index) => requestOf(tables[index]!).map((request): Case => ({ index, request })))
      const checkLater = async (input: Case): Promise<void> => {
        const both = await edge.ask(input.index, input.request)
        if (both.reason === undefined) tally.refused++
        else if (both.reason === 'ok') tally.agreed++
        else tally.denied++
        judge(input, both, tables[input.index]!)
      }
      return { inputs, check: () => {}, checkLater, close: edge.stop }
    },
  }
}
