import { processingAnswer } from '../check/processor-answers.ts'
import type { ProcessedRequest, Processor, RequestStep } from '../core/processing.ts'
import type { Processing } from './processing.ts'

/** What decides behind ext_proc, by the name of its realm. */
export type Processings = ReadonlyMap<string, { readonly processing: Processing | undefined }>

/**
 * What decides behind ext_proc for several realms: that which the check of the same request was of, as its own metadata says. Where
 * that names none, nothing passes.
 */
export function processingOfRealms(
  realms: Processings,
  decisionHeader: string,
  onFault: (detail: string) => void,
): Pick<Processing, 'processor' | 'maxBody'> {
  const refused = ({ method }: ProcessedRequest): RequestStep => {
    onFault('ext_proc was handed a request whose check was of no realm that is served')
    return { kind: 'answer', answer: processingAnswer('metadata_unusable', { method, decisionId: undefined, decisionHeader }) }
  }
  const processor: Processor = {
    request: (sent) => {
      const { metadata } = sent
      const realm = metadata && Object.hasOwn(metadata, 'realm') ? metadata['realm'] : undefined
      const found = typeof realm === 'string' ? realms.get(realm)?.processing : undefined
      return found ? found.processor.request(sent) : refused(sent)
    },
  }
  return {
    processor,
    get maxBody() {
      return Math.max(0, ...[...realms.values()].map(({ processing }) => processing?.maxBody ?? 0))
    },
  }
}
