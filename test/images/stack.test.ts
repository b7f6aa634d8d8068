import { overlaysOf, tryStack, usualRuns } from '../../deploy/compose/try.mjs'
import { engine } from './engine.ts'

describe('the compose stack', function () {
  this.timeout(480_000)
  const { POSTERN_TEST_DOCKER: docker, POSTERN_TEST_COMPOSE: compose } = process.env

  for (const run of usualRuns)
    it(`comes up from nothing, serves a tour, and leaves nothing: ${run}`, async function () {
      // Where there is an engine, anything else that is missing (Java, Maven, Prometheus, SPIRE) is a failure, with the reason.
      if (docker === undefined || compose === undefined) this.skip()
      await tryStack({ docker: await engine(docker), compose, with: overlaysOf(run), tell: () => {} })
    })
})
