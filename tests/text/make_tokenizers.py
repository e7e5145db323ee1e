#!/usr/bin/env python3
"""Writes tests/text/tokenizers: small tokenizer.json files that together have every component, and what
Hugging Face's tokenizers make of some texts with them.

Usage: make_tokenizers.py FOLDER   (needs the Python package tokenizers; 0.23.3 made what is stored)
"""
import json,random,sys,os
from tokenizers import Tokenizer, Regex, AddedToken, models as M, normalizers as N, pre_tokenizers as P, decoders as D, processors as PP, trainers as T
out=sys.argv[1]; random.seed(5)
lines=["The quick brown fox jumps over the lazy dog, 123 times.","He said: 'don't, we'll see' and left.","naïve café résumé — «voilà»!","Ελληνικά και Русский текст","日本語のテキストとカタカナ","한국어 문장","a_b-c d.e/f 1,234.56 $9 x=y+z","  spaced   out\ttabs\nnew line  ","ⅷ ﬁ Å İstanbul ǅ ß ſ K","مرحبا हिन्दी ไทย"]
alphabet=sorted({c for l in lines for c in l})
def bpe(**kw):
    t=Tokenizer(M.BPE(unk_token="<unk>",**kw)); 
    tr=T.BpeTrainer(vocab_size=150,special_tokens=["<unk>","<pad>","</s>"],show_progress=False,min_frequency=1, **({'continuing_subword_prefix':kw['continuing_subword_prefix']} if 'continuing_subword_prefix' in kw else {}), **({'end_of_word_suffix':kw['end_of_word_suffix']} if 'end_of_word_suffix' in kw else {}))
    if kw: t.pre_tokenizer=P.WhitespaceSplit()
    t.train_from_iterator(lines*2,tr); t.pre_tokenizer=None
    return t
texts=lines+["","a"," ","  ","\n","\r\n"," \r\n x","x y","a  b   c"," lead","trail ","e\u0301e\u0301\u0302","か\u3099 ガ","\u1100\u1161\u11a8 각","©\u200d™ 🙂👍🏽 🇩🇪","\u200b\ufeff\u2581x","Don't STOP'Ll 'ſ","ab12cd345 6","x\u00a0y\u3000z","..!?;","<pad>x<pad> </s>","A1b2","\x01\x7f\x85","ᾳ ΐ ﷺ ㎏","ı İ","q\u0323\u0307 q\u0307\u0323","a|b||c|","----","日1本2"]
pool=[chr(c) for r in [(32,127),(0xa0,0x180),(0x300,0x330),(0x370,0x400),(0x400,0x450),(0x5d0,0x5eb),(0x900,0x950),(0xe00,0xe3a),(0x1100,0x1112),(0x2000,0x2070),(0x3040,0x30ff),(0x4e00,0x4e40),(0xac00,0xac40),(0xfb00,0xfb07),(0xff01,0xff60),(0x1f600,0x1f610)] for c in range(*r)]
import unicodedata
pool=[c for c in pool if unicodedata.category(c)!='Cn']
for _ in range(3):
    texts.append("".join(random.choice(pool) if random.random()<.4 else random.choice(" abcdeé123.,'\n") for _ in range(random.randint(3,40))))
def emit(name,t):
    d=os.path.join(out,name); os.makedirs(d,exist_ok=True)
    j=json.loads(t.to_str()); json.dump(j,open(d+"/tokenizer.json","w"),ensure_ascii=False,separators=(",",":"))
    t=Tokenizer.from_file(d+"/tokenizer.json")
    with open(d+"/cases.jsonl","w") as f:
        for x in texts[::4]:
            try: e=t.encode(x); p=t.encode(x,add_special_tokens=False)
            except BaseException as ex: continue
            c={"text":x,"ids":e.ids,"ids_plain":p.ids}
            if not (e.ids==[] and 'BPEDecoder' in t.to_str()): 
                try: c["decoded"]=t.decode(e.ids,skip_special_tokens=False); c["decoded_plain"]=t.decode(p.ids)
                except BaseException: pass
            f.write(json.dumps(c,ensure_ascii=False)+"\n")
        for a,b in [("a b","c"),(lines[0],lines[1])]:
            e=t.encode(a,b); f.write(json.dumps({"text":a,"pair":b,"ids":e.ids,"type_ids":e.type_ids},ensure_ascii=False)+"\n")
        n=t.get_vocab_size()
        for _ in range(3):
            ids=[random.randrange(n) for _ in range(random.randint(1,12))]
            try: f.write(json.dumps({"decode_ids":ids,"decoded":t.decode(ids,skip_special_tokens=False),"decoded_plain":t.decode(ids)},ensure_ascii=False)+"\n")
            except BaseException: pass
base=bpe().to_str()
def fresh(norm=None,pre=None,dec=None,post=None,added=()):
    t=Tokenizer.from_str(base)
    if norm: t.normalizer=norm
    if pre: t.pre_tokenizer=pre
    if dec: t.decoder=dec
    if post: t.post_processor=post
    if added: t.add_tokens(list(added))
    return t
B=["isolated","removed","contiguous","merged_with_previous","merged_with_next"]
rx=[r"\d+|\s",r"[aeiou]",r"(?i:THE|a)\b",r"\p{Lu}\p{Ll}*|\s+(?!\S)|\s+",r"x*",r"(?<=[a-z])\s|(?=\d)",r"[^\W\d_]+?",r"(?>a+)b|.{3}",r"$|^",r"\p{Han}+|\p{Latin}{2}",r"[[:punct:]&&[^.]]|\h{2,3}+",r"(?:ab|a)(?:c|bcd)?"]
for i,r in enumerate(rx):
    for k in range(1):
        b=B[(i+k*2)%5]; inv=bool((i+k)%2)
        emit(f"split-{i}-{b}-{'inv' if inv else 'fwd'}",fresh(pre=P.Split(Regex(r),b,inv)))
emit("split-text",fresh(pre=P.Split("  ","merged_with_next")))
for b in B: emit("punct-"+b,fresh(pre=P.Sequence([P.Punctuation(b),P.Digits(b=="removed")])))
for s in ("always","first","never"):
    for sp in (True,False):
        emit(f"meta-{s}-{sp}",fresh(pre=P.Metaspace("▁",s,sp),dec=D.Metaspace("▁",s,sp),added=[AddedToken("fox",normalized=False),AddedToken("dog",lstrip=True,rstrip=True)]))
emit("meta-after-split",fresh(pre=P.Sequence([P.WhitespaceSplit(),P.Metaspace("▁","first",True)])))
for n,p in [("ws",P.Whitespace()),("wss",P.WhitespaceSplit()),("bert",P.BertPreTokenizer()),("delim",P.CharDelimiterSplit("|")),("scripts",P.UnicodeScripts()),("fixed",P.FixedLength(3)),("bytes-mid",P.Sequence([P.ByteLevel(False,True,True),P.Digits(True)])),("bytes-prefix",P.Sequence([P.WhitespaceSplit(),P.ByteLevel(True,True,False)]))]:
    emit("pre-"+n,fresh(pre=p))
for n,p in [("nfc",N.NFC()),("nfd",N.NFD()),("nfkc",N.NFKC()),("nfkd",N.NFKD()),("lower",N.Lowercase()),("accents",N.Sequence([N.NFD(),N.StripAccents()])),("strip",N.Strip(True,False)),("strip-r",N.Strip(False,True)),("prepend",N.Prepend("▁")),("nmt",N.Nmt()),("bytes",N.ByteLevel()),("bert",N.BertNormalizer(True,True,None,False)),("bert2",N.BertNormalizer(False,True,True,True)),("rep",N.Replace(Regex(r"(?<!\d)\d{2}"),"##")),("rep-empty",N.Replace(Regex(r"q*"),"-")),("seq",N.Sequence([N.NFKD(),N.Lowercase(),N.Replace("a","<A>"),N.Sequence([N.NFC()])]))]:
    emit("norm-"+n,fresh(norm=p,added=[AddedToken("Fox",normalized=True),AddedToken("ﬁ",normalized=True),AddedToken(" dog",normalized=False,single_word=True)]))
emit("dec-ctc",fresh(dec=D.CTC("<pad>","|",True)))
emit("dec-none",fresh())
emit("dec-wordpiece",fresh(dec=D.WordPiece("##",True)))
emit("dec-seq",fresh(dec=D.Sequence([D.Replace("a","bb"),D.Strip("b",1,1),D.Fuse(),D.Strip(" ",2,1)])))
emit("dec-fallback",fresh(dec=D.Sequence([D.ByteFallback(),D.Metaspace("▁","never")])))
emit("post-bert",fresh(post=PP.BertProcessing(("</s>",2),("<pad>",1))))
emit("post-roberta",fresh(post=PP.Sequence([PP.ByteLevel(True),PP.RobertaProcessing(("</s>",2),("<pad>",1))])))
emit("post-template",fresh(post=PP.TemplateProcessing(single="<pad> $A:3 </s>:4 $A",pair="$B:7 </s> $A:1",special_tokens=[("<pad>",1),("</s>",2)])))
t=bpe(continuing_subword_prefix="##"); t.pre_tokenizer=P.WhitespaceSplit(); emit("bpe-prefix",t)
t=bpe(end_of_word_suffix="</w>"); t.pre_tokenizer=P.WhitespaceSplit(); t.decoder=D.BPEDecoder("</w>"); emit("bpe-suffix",t)
t=bpe(fuse_unk=True); emit("bpe-fuse",t)
v=json.loads(base)["model"]["vocab"]; 
fb=json.loads(base); n=len(v)
for i in range(256): fb["model"]["vocab"]["<0x%02X>"%i]=n+i
fb["model"]["byte_fallback"]=True; t=Tokenizer.from_str(json.dumps(fb)); t.decoder=D.Sequence([D.ByteFallback(),D.Fuse()]); emit("bpe-fallback",t)
del fb["model"]["vocab"]["<0xE3>"]; fb["model"]["fuse_unk"]=True; emit("bpe-fallback-part",Tokenizer.from_str(json.dumps(fb)))
fb=json.loads(base); fb["model"]["ignore_merges"]=True; fb["model"]["vocab"]["quick brown"]=n; emit("bpe-ignore",Tokenizer.from_str(json.dumps(fb)))
t=Tokenizer(M.WordLevel({w:i for i,w in enumerate(["<unk>","The","quick","fox","a","b",",","."])},"<unk>")); t.pre_tokenizer=P.Whitespace(); emit("wordlevel",t)
t=Tokenizer(M.WordPiece({w:i for i,w in enumerate(["[UNK]","The","qu","##ick","##i","##c","fo","##x","a","##a","b","##b",",",".","日","##本","##ing","ing"])},unk_token="[UNK]",max_input_chars_per_word=6)); t.pre_tokenizer=P.Whitespace(); t.decoder=D.WordPiece("##",False); emit("wordpiece",t)
u=[["<unk>",0.0],["<pad>",0.0],["</s>",0.0]]+[[c,-5.0-(i%7)*.37] for i,c in enumerate(alphabet) if c!="Q"]+[["th",-4.1],["the",-6.2],["he",-5.5],["  ",-3.0],["qu",-4.4],["ick",-5.1],["ab",-2.0],["th",-9.9]]
j={"version":"1.0","added_tokens":[],"model":{"type":"Unigram","unk_id":0,"vocab":u,"byte_fallback":False}}
emit("unigram",Tokenizer.from_str(json.dumps(j)))
j["model"]["vocab"]=u+[["<0x%02X>"%i,0.0] for i in range(256)]; j["model"]["byte_fallback"]=True; emit("unigram-fallback",Tokenizer.from_str(json.dumps(j)))
