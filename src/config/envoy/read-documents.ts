import type { Fault } from '../faults.ts'
import { NotReadable, sourceOf, TooDeep } from './node.ts'
import { readJson } from './read-json.ts'
import { readYaml } from './read-yaml.ts'
import { Setting } from './setting.ts'

/** The documents of a file, or why it cannot be read. */
export type Documents = { readonly roots: readonly Setting[] } | { readonly fault: Fault }

/** Reads JSON, or YAML of one or several documents. @param file the name that faults show */
export function readDocuments(file: string, text: string): Documents {
  const source = sourceOf(file, text)
  const fault = ({ message, offset }: NotReadable, language: string): Documents => ({
    fault: { file, ...source.place(offset), path: '', message: `not ${language}: ${message}` },
  })
  // YAML may begin with a brace as well; most of what does is JSON.
  const looksLikeJson = /^\s*[{[]/.test(text)
  let json: NotReadable | undefined
  if (looksLikeJson) {
    try {
      return { roots: [Setting.root(readJson(text, source))] }
    } catch (error) {
      if (!(error instanceof NotReadable)) throw error
      if (error instanceof TooDeep) return fault(error, 'JSON')
      json = error
    }
  }
  try {
    return { roots: readYaml(text, source).map(Setting.root) }
  } catch (error) {
    if (!(error instanceof NotReadable)) throw error
    return json ? fault(json, 'JSON') : fault(error, 'YAML')
  }
}
