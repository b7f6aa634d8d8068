import { type ServeOptions, serve } from '../compose.ts'
import { StartRefused } from '../core/start-refused.ts'
import { openWorkerLink } from './workers-link.ts'

/**
 * One worker, from its start to its end: it serves the connections that its primary hands over, until that says so or is
 * gone. Signals are the primary's to hear: those of a terminal reach the whole group, and a worker has to drain first.
 * @returns the exit code; why a start was refused is told by the primary
 * @throws {StartRefused} where no primary has started this process
 */
export async function serveAsWorker(number: number, options: Omit<ServeOptions, 'link'>): Promise<0 | 1 | 2> {
  const link = openWorkerLink(number)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  try {
    const service = await serve({ ...options, link })
    link.onReload(service.reload)
    link.tell({ kind: 'serving' })
    await link.leave
    await service.close()
    return 0
  } catch (cause) {
    if (!(cause instanceof StartRefused)) throw cause
    link.tell({ kind: 'refused', sentences: cause.sentences, fault: cause.fault })
    return cause.fault === 'policy' ? 2 : 1
  } finally {
    link.end()
  }
}
