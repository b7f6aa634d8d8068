import type { Respelling } from './respelling.ts'
import { inCredential } from './respelling-credential.ts'
import { inForm, inHeaders } from './respelling-headers.ts'
import { inTarget } from './respelling-target.ts'

/** Every way to write a request otherwise. */
export const respellings: readonly Respelling[] = [...inTarget, ...inHeaders, ...inCredential, ...inForm]
