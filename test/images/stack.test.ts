import { overlaysOf, tryStack, usualRuns } from '../../deploy/compose/try.mjs'
import { which } from '../../deploy/local/command.mjs'
import { engine } from './engine.ts'

/** What a run's images are made of, beside the programs that are fetched in no time. */
const needs = (run: string): boolean =>
  which('redis-cli') !== undefined &&
  (!run.includes('observability') || (which('prometheus') !== undefined && which('promtool') !== undefined)) &&
  // Long to build: only where the run of the tests got it.
  (!run.includes('spire') || process.env['POSTERN_TEST_SPIRE'] !== undefined)

describe('the compose stack', function () {
  this.timeout(480_000)
  const { POSTERN_TEST_DOCKER: docker, POSTERN_TEST_COMPOSE: compose } = process.env

  for (const run of usualRuns)
    it(`comes up from nothing, serves a tour, and leaves nothing: ${run}`, async function () {
      if (docker === undefined || compose === undefined || !needs(run)) this.skip()
      await tryStack({ docker: await engine(docker), compose, with: overlaysOf(run), tell: () => {} })
    })
})
